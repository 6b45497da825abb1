#!/usr/bin/env bash
# llmcompressor 0.14.0.1, AWQModifier on a machine without a card.
#
# Expected: AWQ runs on a CPU as GPTQ does, only more slowly: the log says "No accelerator available!
# Compressing model on CPU instead".
# Seen: as it begins to search for scales it pins the cached activations for copies to a card, whether
# there is one or not, and ends in "RuntimeError: Found no NVIDIA driver on your system" (a CUDA build of
# torch) or "Cannot access accelerator device when none is available" (a CPU build). With that one method
# made to do nothing it ends well.
# So tools/stages/quantizing/compressing.py takes pinning out where there is no card.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet transformers==5.17.0 torch==2.13.0 compressed-tensors==0.19.0 \
    accelerate==1.15.0 datasets==5.0.1
fi
"$python" -m pip install --quiet --no-deps --target "$folder/llm" llmcompressor==0.14.0.1
cd "$folder"
CUDA_VISIBLE_DEVICES="" HF_HUB_OFFLINE=1 TQDM_DISABLE=1 PYTHONPATH="$folder/llm" "$python" - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.pipelines.cache import IntermediatesCache
from loguru import logger
from tokenizers import Tokenizer, models
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

logger.remove()
config = LlamaConfig(
    vocab_size=64, hidden_size=128, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2,
    bos_token_id=0, eos_token_id=0,
)
LlamaForCausalLM(config).save_pretrained("model")
words = Tokenizer(models.BPE({chr(65 + at): at for at in range(26)}, []))
rows = [{"input_ids": torch.arange(16), "attention_mask": torch.ones(16, dtype=torch.long)}]


def awq() -> str:
    try:
        oneshot(
            model=AutoModelForCausalLM.from_pretrained("model"),
            processor=PreTrainedTokenizerFast(tokenizer_object=words),
            recipe=[AWQModifier(), QuantizationModifier(scheme="W4A16", targets=["Linear"], ignore=["lm_head"])],
            dataset=DataLoader(rows, batch_size=1),
        )
    except RuntimeError as error:
        return f"RuntimeError: {str(error)[:60]}"
    return "ends well"


as_it_is = awq()
IntermediatesCache.pin_memory = lambda *_: None
without = awq()
print("llmcompressor 0.14.0.1, torch", version("torch"), "AWQ on a CPU:", as_it_is)
print("without pinning:", without)
sys.exit(0 if as_it_is.startswith("RuntimeError") and without == "ends well" else "this has changed")
PYTHON
