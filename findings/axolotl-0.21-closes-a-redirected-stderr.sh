#!/usr/bin/env bash
# axolotl 0.21.0 beside absl-py (which rouge-score, evaluate and TensorBoard import), where stderr is
# a stream of one's own, as in notebooks, test runners and loggers.
#
# Expected: importing Axolotl leaves the stream open; its owner closes it.
# Seen: it is closed. On import Axolotl first puts colorama's wrapper in the place of sys.stderr, then
# configures logging anew, which closes the handlers that are there; absl's spares a stream only when
# sys.stderr is still that very object. Without absl, or with absl imported second, it stays open.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet axolotl==0.21.0 torch==2.13.0 absl-py==2.5.1
fi
cat > "$folder/imports.py" <<'PYTHON'
import importlib
import io
import sys

sys.stderr = stream = io.StringIO()
try:
    for name in sys.argv[1:]:
        importlib.import_module(name)
except ValueError:  # a line that Axolotl's own import writes there meanwhile
    pass
sys.stderr = sys.__stderr__
print("closed" if stream.closed else "open")
PYTHON
AXOLOTL_DO_NOT_TRACK=1
export AXOLOTL_DO_NOT_TRACK
"$python" -c 'from importlib.metadata import version as v; print("axolotl", v("axolotl"), "absl-py", v("absl-py"))'
seen=""
for order in "axolotl.cli.config" "axolotl.cli.config absl.logging" "absl.logging axolotl.cli.config"; do
  # shellcheck disable=SC2086
  state=$("$python" "$folder/imports.py" $order | tail -n 1)
  echo "$order: $state"
  seen="$seen $state"
done
[ "$seen" = " open open closed" ] || { echo "this has changed"; exit 1; }
