#!/usr/bin/env bash
# axolotl 0.21.0: gradient_checkpointing on a Llama whose folder is called, say, attempts/2.
#
# Expected: what a model is, is told by its config.json (Axolotl has read it: model_config_type).
# Seen: "gradient_checkpointing is not supported for MPT models": every base_model with the letters
# mpt anywhere in its path or name is one, so attempts, prompts, empty and temptation, too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet axolotl==0.21.0 torch==2.13.0
fi
cd "$folder"
AXOLOTL_DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 "$python" - <<'PYTHON'
import logging
import sys
from importlib.metadata import version

from transformers import LlamaConfig

from axolotl.utils.config import validate_config
from axolotl.utils.dict import DictDefault

logging.disable(logging.WARNING)
print("axolotl", version("axolotl"))


def verdict(place):
    """What Axolotl says of a training of the Llama that lies there."""
    LlamaConfig().save_pretrained(place)
    try:
        validate_config(DictDefault({
            "base_model": place, "datasets": [{"path": "rows.jsonl", "ds_type": "json"}],
            "micro_batch_size": 1, "gradient_accumulation_steps": 1, "learning_rate": 1e-4,
            "gradient_checkpointing": True}))
    except ValueError as error:
        return next(line.strip() for line in str(error).splitlines() if "gradient" in line)
    return "taken"


seen = {place: verdict(place) for place in ("trials/2", "attempts/2")}
for place, said in seen.items():
    print(f"{place}: {said}")
sys.exit(0 if seen["trials/2"] == "taken" != seen["attempts/2"] else "this has changed")
PYTHON
