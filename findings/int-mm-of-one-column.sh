#!/usr/bin/env bash
# torch 2.13.0, torch._int_mm on a CPU, with a transposed second factor, as a linear layer's weight is.
#
# Expected: the products, whatever the width that is summed over.
# Seen: where that width is 1 and more than one column comes out, numbers that have nothing to do with
# the factors, without an error; with 2 or more all are right. Such a factor has the strides (1, 1).
# Seen on a Xeon with AMX.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet torch==2.13.0
fi
"$python" - <<'PYTHON'
import torch

torch.manual_seed(0)
for width in (1, 2):
    wrong = 0
    for _ in range(100):
        rows = torch.randint(-127, 128, (3, width), dtype=torch.int8)
        columns = torch.randint(-127, 128, (33, width), dtype=torch.int8).t()
        wrong += not torch.equal(torch._int_mm(rows, columns), rows.int() @ columns.int())
    print(f"width {width}: {wrong} of 100 products are wrong")
PYTHON
