#!/usr/bin/env bash
# transformers 5.20.1, bitsandbytes 0.50.2: a Falcon loaded with load_in_4bit, and dequantize().
#
# Expected: its linear layers are in 4 bits, as a Bloom's of the same shapes are, or the load refuses;
# dequantize() of a model that holds no packed layer gives that model.
# Seen: not one layer is in 4 bits, for FalconLinear is a subclass of torch.nn.Linear and only
# ``type(module) is nn.Linear`` is replaced: the model takes its full memory. All that is said is a
# warning ("You are loading your model using eetq but no linear modules were found"), and
# model.is_loaded_in_4bit is True. dequantize() ends in an UnboundLocalError (has_been_replaced).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet transformers==5.20.1 bitsandbytes==0.50.2 torch==2.13.0 \
    accelerate==1.15.0
fi
cd "$folder"
HF_HUB_OFFLINE=1 "$python" - <<'PYTHON'
import sys
from importlib.metadata import version

from bitsandbytes.nn import Linear4bit
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, BloomConfig, FalconConfig
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
print("transformers", version("transformers"), "bitsandbytes", version("bitsandbytes"))
ENDS = {"bos_token_id": 1, "eos_token_id": 1, "vocab_size": 300, "hidden_size": 64}
CONFIGS = {
    "bloom": BloomConfig(n_layer=2, n_head=4, **ENDS),
    "falcon": FalconConfig(num_hidden_layers=2, num_attention_heads=4, **ENDS),
}
packed, unpacked = {}, {}
for name, config in CONFIGS.items():
    AutoModelForCausalLM.from_config(config).save_pretrained(name)
    net = AutoModelForCausalLM.from_pretrained(
        name, quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"))
    packed[name] = sum(isinstance(module, Linear4bit) for module in net.modules())
    try:
        net.dequantize()
        unpacked[name] = "works"
    except UnboundLocalError as error:
        unpacked[name] = f"UnboundLocalError: {error}"
    print(f"{name}: {packed[name]} layers in 4 bits of 8; is_loaded_in_4bit "
          f"{net.is_loaded_in_4bit}; dequantize: {unpacked[name]}")
changed = packed != {"bloom": 8, "falcon": 0} or unpacked["falcon"] == "works"
sys.exit("this has changed" if changed else 0)
PYTHON
