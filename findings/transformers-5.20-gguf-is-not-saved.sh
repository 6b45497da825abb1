#!/usr/bin/env bash
# transformers 5.20.1, gguf 0.19.0: a GGUF read and saved again.
#
# Expected: from_pretrained(folder, gguf_file=...) and then save_pretrained(folder), the two calls by
# which its GGUF page turns a file into a folder of safetensors, write that folder, as 5.16.1 does.
# Seen: a Llama is read as plain torch.nn.Linear layers in float32, no weight packed, and yet
# save_pretrained refuses it as "quantized with QuantizationMethod.GGUF and not serializable"; so it
# does where all weights of the file are float32. The quantizer stays on a model of an architecture
# that the older reader still unpacks. GgufConfig(dequantize=True) takes it off, of the same layers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet transformers==5.20.1 gguf==0.19.0 torch==2.13.0 accelerate==1.15.0
fi
cd "$folder"
# Offline: no kernel is looked for on the hub, so that every run reads the file in the same way.
HF_HUB_OFFLINE=1 "$python" - <<'PYTHON'
import sys
from importlib.metadata import version

import gguf
import numpy
import torch
from transformers import AutoModelForCausalLM, GgufConfig
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
print("transformers", version("transformers"), "gguf", version("gguf"))
WIDTH, INNER, WORDS = 64, 128, 32


def write(name, packed):
    """A Llama of one layer with random weights, as llama.cpp names them."""
    writer = gguf.GGUFWriter(name, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(WORDS)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"w{i}" for i in range(WORDS)])
    writer.add_token_types([gguf.TokenType.NORMAL] * WORDS)
    random = numpy.random.default_rng(0)
    square = [f"blk.0.attn_{part}" for part in ("q", "k", "v", "output")]
    shapes = {"token_embd": (WORDS, WIDTH), "output": (WORDS, WIDTH)}
    shapes |= dict.fromkeys(square, (WIDTH, WIDTH))
    shapes |= {"blk.0.ffn_gate": (INNER, WIDTH), "blk.0.ffn_up": (INNER, WIDTH)}
    shapes |= {"blk.0.ffn_down": (WIDTH, INNER)}
    for key, shape in shapes.items():
        weight = random.normal(size=shape, scale=0.1).astype(numpy.float32)
        if packed:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(f"{key}.weight", gguf.quants.quantize(weight, kind), raw_dtype=kind)
        else:
            writer.add_tensor(f"{key}.weight", weight)
    for key in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{key}.weight", numpy.ones(WIDTH, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


write("packed.gguf", True)
write("plain.gguf", False)
seen = {}
for file, options in {
    "packed.gguf": {},
    "packed.gguf ": {"quantization_config": GgufConfig(dequantize=True)},
    "plain.gguf": {},
}.items():
    model = AutoModelForCausalLM.from_pretrained(
        ".", gguf_file=file.strip(), dtype=torch.float32, **options
    )
    kinds = {str(weight.dtype) for weight in model.state_dict().values()}
    linear = type(model.model.layers[0].mlp.down_proj).__name__
    try:
        model.save_pretrained("saved")
    except ValueError as error:
        said = str(error).split(" - ")[0]
    else:
        said = "saved"
    seen[file] = (linear, kinds, said != "saved")
    print(file.strip(), *options, f"({linear}, {', '.join(sorted(kinds))}):", said)
plain = ("Linear", {"torch.float32"})
wanted = {"packed.gguf": (*plain, True), "packed.gguf ": (*plain, False), "plain.gguf": (*plain, True)}
sys.exit(0 if seen == wanted else "this has changed")
PYTHON
