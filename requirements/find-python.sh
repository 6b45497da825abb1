#!/bin/sh
# Print the Python that the locks are for, or say what to install. Make asks once, before a set-up.
#
# 3.12: Axolotl 0.21 wants it at least, and pins zstandard 0.22.0, which has no wheel for 3.13. A name
# on the PATH may be a shim that only says that it is not chosen (pyenv), so each is tried.
fits() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 12))' > /dev/null 2>&1
}
if [ -n "$PYTHON" ]; then # named by the user: that one or none
  if fits "$PYTHON"; then
    command -v "$PYTHON"
    exit 0
  fi
  echo "error: PYTHON=$PYTHON is no Python 3.12 with venv; name one, or leave PYTHON out" >&2
  exit 2
fi
for name in python3.12 python3 python \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python3.12 \
    "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}"/cpython-3.12*/bin/python3.12 \
    "${CONDA_PREFIX:-/nowhere}"/bin/python3.12; do
  if fits "$name"; then
    command -v "$name"
    exit 0
  fi
done
echo "error: no Python 3.12 with venv is here; install it by one of" >&2
echo "  Ubuntu 24.04              apt install python3.12 python3.12-venv" >&2
echo "  any Linux, without root   uv python install 3.12, or pyenv install 3.12" >&2
echo "and call make again, or name another: make ${1:-day} PYTHON=/path/to/python3.12" >&2
exit 2
