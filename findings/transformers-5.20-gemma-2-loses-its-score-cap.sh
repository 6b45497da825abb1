#!/usr/bin/env bash
# transformers 5.20.1: a Gemma 2, whose attention scores are capped, loaded without a word on how.
#
# Expected: an attention that caps them (eager, flex_attention), a warning, or the same logits by all.
# Seen: it is loaded with sdpa, which takes the cap among its other arguments and leaves it out:
# nothing is said, and the logits are another model's. Without a cap eager and sdpa agree.
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
from transformers import AutoModelForCausalLM, Gemma2Config
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
print("transformers", version("transformers"))
SIZES = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
ids = torch.arange(40)[None] % 300
seen = {}
for cap in (None, 2.0):
    torch.manual_seed(0)
    config = Gemma2Config(**SIZES, attn_logit_softcapping=cap, initializer_range=0.4)
    AutoModelForCausalLM.from_config(config).save_pretrained("model")
    by_default = AutoModelForCausalLM.from_pretrained("model").eval()
    eager = AutoModelForCausalLM.from_pretrained("model", attn_implementation="eager").eval()
    with torch.inference_mode():
        apart = float((by_default(ids).logits - eager(ids).logits).abs().max())
    seen[cap] = apart
    print(f"cap {cap}: loaded with {by_default.config._attn_implementation}, "
          f"logits up to {apart:.2g} from eager's")
sys.exit(0 if seen[None] < 1e-3 and seen[2.0] > 0.1 else "this has changed")
PYTHON
