#!/usr/bin/env bash
# torchao 0.18.0, transformers 5.20.1: a quantized model whose head is its embeddings.
#
# Expected: torchao's quantize_ over a model, a TorchAoConfig in its config and save_pretrained, the
# steps of `axolotl quantize` 0.21, make a folder that from_pretrained loads.
# Seen: quantize_ takes each nn.Linear, the tied head too, so head and embeddings part and both are
# saved; the config still ties them. Loading, transformers compares the two by torch.equal, which
# torchao's IntxUnpackedToInt8Tensor does not implement: NotImplementedError. With a head of its own
# (tie_word_embeddings=False) the same steps load back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet transformers==5.20.1 torchao==0.18.0 torch==2.13.0 accelerate==1.15.0
fi
cd "$folder"
HF_HUB_OFFLINE=1 "$python" - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from torchao.quantization import quantize_
from torchao.quantization.granularity import PerGroup
from torchao.quantization.quant_api import Int8DynamicActivationIntxWeightConfig
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, TorchAoConfig
from transformers.quantizers.quantizer_torchao import TorchAoHfQuantizer
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
print("torchao", version("torchao"), "transformers", version("transformers"))
HOW = Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int4, weight_granularity=PerGroup(32))


def loaded(tied):
    """What loading says of a model that was quantized and saved."""
    torch.manual_seed(0)
    net = LlamaForCausalLM(LlamaConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, vocab_size=64, tie_word_embeddings=tied,
    ))
    quantize_(net, HOW)
    net.config.quantization_config = TorchAoConfig(HOW)
    net.hf_quantizer = TorchAoHfQuantizer(net.config.quantization_config)
    net.save_pretrained(f"tied-{tied}")
    try:
        AutoModelForCausalLM.from_pretrained(f"tied-{tied}")
    except NotImplementedError as error:
        return f"NotImplementedError: {str(error)[:70]}"
    return "loaded"


apart, tied = loaded(False), loaded(True)
print("a head of its own:", apart)
print("tied:", tied)
if apart != "loaded" or "IntxUnpackedToInt8Tensor" not in tied:
    sys.exit("changed: look again")
PYTHON
