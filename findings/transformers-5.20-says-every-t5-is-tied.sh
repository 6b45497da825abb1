#!/usr/bin/env bash
# transformers 5.20.1: a T5 v1.1, whose head is a matrix of its own, saved by save_pretrained.
#
# Expected: config.json says tie_word_embeddings false, as the file that was loaded does, and a
# model made of that configuration has as many weights as the published one.
# Seen: T5Config sets tie_word_embeddings to true whatever it is given (scale_decoder_outputs keeps
# what was meant). The weights are right, both matrices are in the file and come back apart; but the
# config.json beside them says they are one, so whoever believes it (another loader, a converter)
# has the wrong head, and a model made of the configuration has one matrix less.
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
import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
print("transformers", version("transformers"))
config = T5Config(
    vocab_size=96, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4,
    feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
)
made = T5ForConditionalGeneration(config)
made.save_pretrained("published")
weights = load_file("published/model.safetensors")
weights["lm_head.weight"] = torch.randn(96, 32)
save_file(weights, "published/model.safetensors", {"format": "pt"})
told = json.loads(Path("published/config.json").read_text())
told["tie_word_embeddings"] = False
told.pop("scale_decoder_outputs", None)
Path("published/config.json").write_text(json.dumps(told))

net = T5ForConditionalGeneration.from_pretrained("published")
net.save_pretrained("saved")
again = T5ForConditionalGeneration.from_pretrained("saved")
says = json.loads(Path("saved/config.json").read_text())["tie_word_embeddings"]
apart = not torch.equal(again.lm_head.weight, again.shared.weight)
kept = torch.equal(again.lm_head.weight, weights["lm_head.weight"])
missing = sum(one.numel() for one in net.parameters()) - sum(one.numel() for one in made.parameters())
print(f"saved config.json: tie_word_embeddings {says}; the head comes back apart: {apart and kept}")
print(f"a model made of the configuration has {missing} weights less, of {96 * 32} of a head")
changed = not (says is True and apart and kept and missing == 96 * 32)
sys.exit("this has changed" if changed else 0)
PYTHON
