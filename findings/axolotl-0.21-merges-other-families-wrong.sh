#!/usr/bin/env bash
# axolotl 0.21.0, peft 0.21.2, transformers 5.20.1: the default merge (merge_method:
# memory_efficient) of a LoRA on GPT-2, and on GPT-2 and Bloom with the names of their published
# files.
#
# Expected: the merged model computes what base + adapter does (for qlora: the base as it was loaded
# in 4 bits), as it does for a Llama.
# Seen, as a share of what the adapter changes: the merge knows layers by their names in the file.
# Bloom's and GPT-2's leave "transformer." out, so nothing is merged (100 % off), with a warning.
# With the prefix GPT-2's qlora merge ends in an error of shapes, for bitsandbytes turns Conv1D round and
# adapter_config.json then says fan_in_fan_out false.
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
from pathlib import Path

import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig)

from transformers.utils import logging as transformers_logging

from axolotl.cli.utils.lora_merge import merge_lora_sharded_efficient

logging.disable(logging.WARNING)
transformers_logging.disable_progress_bar()
print("axolotl", version("axolotl"), "peft", version("peft"))
ENDS = {"bos_token_id": 1, "eos_token_id": 1, "vocab_size": 300}
KINDS = {
    "llama": dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
                  intermediate_size=128),
    "gpt2": dict(n_embd=64, n_layer=2, n_head=4, n_positions=64),
    "bloom": dict(hidden_size=64, n_layer=2, n_head=4),
}
NF4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
                         bnb_4bit_use_double_quant=True)
PROMPT = torch.tensor([[5, 250, 17, 99, 3, 42]])


def load(place, packed):
    more = {"quantization_config": NF4} if packed else {}
    return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **more).eval()


def logits(net):
    with torch.inference_mode():
        return net(PROMPT).logits


def base(kind, published, place):
    config = AutoConfig.for_model(kind, **ENDS, **KINDS[kind])
    torch.manual_seed(0)
    net = AutoModelForCausalLM.from_config(config)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, 1.0 if weight.dim() == 1 else 0.0, 0.1)
    net.save_pretrained(place)
    if published:
        state = load_file(f"{place}/model.safetensors")
        state = {name.removeprefix("transformer."): one for name, one in state.items()}
        save_file(state, f"{place}/model.safetensors", {"format": "pt"})


def off(kind, packed, published):
    """How far the merged model is from base + adapter, as a share of the adapter's change."""
    place = f"{kind}-{packed}-{published}"
    base(kind, published, place)
    net = get_peft_model(load(place, packed), LoraConfig(
        r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"))
    net.save_pretrained(f"{place}/adapter")
    net = load(place, packed)
    net = net.dequantize() if any(isinstance(one, Linear4bit) for one in net.modules()) else net
    before = logits(net)
    wanted = logits(PeftModel.from_pretrained(net, f"{place}/adapter").eval())
    merged = Path(f"{place}/merged")
    merged.mkdir()
    try:
        merge_lora_sharded_efficient(place, f"{place}/adapter", merged, simulate_nf4=packed)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    found = logits(load(merged, False))
    return float((found - wanted).abs().max() / (wanted - before).abs().max())


CASES = [("llama", False, False), ("llama", True, False), ("gpt2", False, True),
         ("gpt2", True, False), ("bloom", False, True), ("bloom", True, True)]
seen = {case: off(*case) for case in CASES}
for (kind, packed, published), how in seen.items():
    how = how if isinstance(how, str) else f"{how:.1%} off"
    print(f"{kind}, {'qlora' if packed else 'lora'}{', published names' * published}: {how}")
right = [case for case, how in seen.items() if not isinstance(how, str) and how < 0.01]
sys.exit(0 if {case[0] for case in right} == {"llama"} else "this has changed")
PYTHON
