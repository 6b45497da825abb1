#!/usr/bin/env bash
# compressed-tensors 0.19.0 (0.20.1 as well): activations that are rounded token by token, of two dimensions.
#
# Expected: strategy "token", dynamic, as W8A8 and FP8_DYNAMIC have it: each token has a scale of its own,
# whatever shape the batch has, so a token's numbers are not its neighbours' business.
# Seen: the first two dimensions are taken for batch and token. Of [tokens, width], as the inputs of
# experts and of models that flatten a batch are, nothing is left to look along, and one scale is taken of
# the whole tensor: a small token beside a large one is rounded to nothing.
# So our worker, which batches the tokens of many requests, computes activations whole
# (serve/engine/unpacking.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet transformers==5.20.1 torch==2.13.0
fi
for version in 0.19.0 0.20.1; do
  "$python" -m pip install --quiet --no-deps --target "$folder/$version" compressed-tensors==$version
  PYTHONPATH="$folder/$version" "$python" - $version <<'PYTHON'
import sys

import torch
from compressed_tensors.quantization import apply_quantization_config, preset_name_to_scheme
from compressed_tensors.quantization import QuantizationConfig, forward_quantize

net = torch.nn.Sequential(torch.nn.Linear(4, 4))
groups = {"group_0": preset_name_to_scheme("W8A8", ["Linear"])}
apply_quantization_config(net, QuantizationConfig(config_groups=groups))
layer, args = net[0], net[0].quantization_scheme.input_activations
tokens = torch.tensor([[0.01, 0.02, 0.03, 0.04], [100.0, 50.0, 25.0, 10.0]])
flat = forward_quantize(layer, tokens, "input", args)[0]
alone = forward_quantize(layer, tokens[None], "input", args)[0, 0]
print("compressed-tensors", sys.argv[1], "the small token of [2, 4]:", flat.tolist(), "of [1, 2, 4]:", alone.tolist())
right = torch.allclose(alone, tokens[0], atol=1e-3) and not flat.any()
sys.exit(0 if right else "this has changed")
PYTHON
done
