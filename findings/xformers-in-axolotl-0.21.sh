#!/usr/bin/env bash
# axolotl 0.21.0, attn_implementation: xformers.
#
# Expected: the xformers that pip installs with it computes; with sample_packing: true packed rows are
# kept apart, and of a model with a sliding window each token sees the window's keys only (as with
# flash_attention_2; xformers has BlockDiagonalCausalMask.make_local_attention for it).
# Seen: Axolotl asks for torch 2.13 or newer; the kernels of the newest xformers, 0.0.35, are built for
# torch 2.10 and are not loaded. And the bias that reaches xformers is a plain BlockDiagonalCausalMask,
# whatever sliding_window is: a Mistral with a window of 4,096 would be trained with full attention
# on packed rows of 8,192.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet axolotl==0.21.0 torch==2.13.0 xformers==0.0.35
fi
cd "$folder"
AXOLOTL_DO_NOT_TRACK=1 "$python" - <<'PYTHON'
import json
import sys
from pathlib import Path
from importlib.metadata import version
from types import SimpleNamespace

import torch
import xformers
from axolotl.monkeypatch.attention import xformers as patch

built = json.loads((Path(xformers.__file__).parent / "cpp_lib.json").read_text())["version"]["torch"]
print("axolotl", version("axolotl"), "xformers", version("xformers"), "built for torch", built,
      "beside torch", version("torch"))
seen = []


def kernel(query, key, value, attn_bias=None):
    """In place of the CUDA kernel: the bias is what tells who sees whom."""
    seen.append(attn_bias)
    return query


patch.xformers_attention = kernel
heads = SimpleNamespace(num_attention_heads=2, num_key_value_heads=2)
tensor = torch.zeros(1, 2, 12, 8)
positions = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]])
for window in (None, 4):
    patch.xformers_attention_forward(
        SimpleNamespace(config=heads, training=True), tensor, tensor, tensor,
        position_ids=positions, sliding_window=window)
for window, bias in zip((None, 4), seen, strict=True):
    mask = bias.materialize((12, 12))
    print("sliding_window", window, type(bias).__name__,
          "keys that token 7 sees:", int((mask[7] == 0).sum()))
last = seen[1].materialize((12, 12))
windowed = int((last[7] == 0).sum()) != 8
matches = built.partition("+")[0] == version("torch").partition("+")[0]
sys.exit("this has changed" if windowed or matches else 0)
PYTHON
