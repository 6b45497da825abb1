#!/usr/bin/env bash
# llama-cpp-py-sync 0.11739 (llama.cpp as a wheel): the system that it runs on.
#
# Expected: a wheel tagged manylinux2014 runs on every Linux with glibc 2.17 or newer, for that is what
# the tag promises, and pip installs it there.
# Seen: its libllama.so asks for symbols of GLIBC_2.38, so pip installs it on Debian 12 (2.36) and Ubuntu
# 22.04 (2.35), and the first use ends in OSError: version `GLIBC_2.38' not found.
# So requirements/gguf.in takes llama-cpp-python, which is compiled where it is installed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python=python3
fi
"$python" -m pip download --quiet --no-deps --only-binary :all: --platform manylinux2014_x86_64 \
  --dest "$folder" llama-cpp-py-sync==0.11739
cd "$folder"
"$python" - <<'PYTHON'
import re
import sys
import zipfile
from pathlib import Path

(file,) = Path().glob("*.whl")
library = zipfile.ZipFile(file).read("llama_cpp_py_sync/libllama.so")
asked = sorted({(int(a), int(b)) for a, b in re.findall(rb"GLIBC_(\d+)\.(\d+)\0", library)})
print(file.name, "asks for GLIBC up to", ".".join(map(str, asked[-1])))
sys.exit(0 if "manylinux2014" in file.name and asked[-1] == (2, 38) else "this has changed")
PYTHON
