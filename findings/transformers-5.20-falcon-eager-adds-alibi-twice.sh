#!/usr/bin/env bash
# transformers 5.20.1: a Falcon with linear biases (alibi: true, as falcon-rw-1b) by eager and sdpa.
#
# Expected: the same logits, as of a Falcon with rotary positions.
# Seen: eager's are others: the model writes the biases into the mask, and its eager attention adds
# them to the scores once more. Made by hand (mask without biases) its logits are sdpa's.
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
cd "$folder"
HF_HUB_OFFLINE=1 "$python" - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from transformers import AutoModelForCausalLM, FalconConfig
from transformers.models.falcon import modeling_falcon
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
print("transformers", version("transformers"))
SIZES = {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "bos_token_id": 1, "eos_token_id": 1, "initializer_range": 0.2}
ids = torch.arange(40)[None] % 300


def logits(how):
    net = AutoModelForCausalLM.from_pretrained("model", attn_implementation=how).eval()
    with torch.inference_mode():
        return net(ids).logits


def once(attention, *args, **others):
    """The model's own attention, of a mask that holds no biases."""
    mask = torch.full((1, 1, 40, 40), torch.finfo(torch.float32).min).triu(1)
    return forward(attention, *args, **{**others, "attention_mask": mask})


forward = modeling_falcon.FalconAttention.forward
seen = {}
for alibi in (False, True):
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(FalconConfig(**SIZES, alibi=alibi)).save_pretrained("model")
    seen[alibi] = float((logits("eager") - logits("sdpa")).abs().max())
    print(f"alibi {alibi}: eager and sdpa are up to {seen[alibi]:.2g} apart")
modeling_falcon.FalconAttention.forward = once
mended = logits("eager")
modeling_falcon.FalconAttention.forward = forward
apart = float((mended - logits("sdpa")).abs().max())
print(f"eager, biases once: {apart:.2g}")
sys.exit(0 if seen[False] < 1e-3 < 0.01 < seen[True] and apart < 1e-3 else "this has changed")
PYTHON
