#!/usr/bin/env bash
# transformers 5.20.1, sentencepiece 0.2.3: ALBERT's tokenizer with add_bos_token said.
#
# Expected: add_bos_token=False, or True, leaves [CLS] before and [SEP] behind a text: they are the
# class's own frame, [SEP] is no BOS, and AlbertTokenizer's own parameters do not name the option.
# Seen: either value puts a template of BOS and EOS alone in the frame's place, so False gives bare
# ids and True [CLS] without [SEP], in silence. Without the option both are there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet transformers==5.20.1 sentencepiece==0.2.3 protobuf==7.36.2
fi
cd "$folder"
HF_HUB_OFFLINE=1 "$python" - <<'PYTHON'
import json
import sys
from importlib.metadata import version
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2  # the copy that transformers then finds
from transformers import AutoTokenizer
from transformers.utils import logging

logging.set_verbosity_error()
print("transformers", version("transformers"), "sentencepiece", version("sentencepiece"))
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(["the capital of france is paris", "two plus two is four"] * 20),
    model_prefix="spiece", vocab_size=60, hard_vocab_limit=False, minloglevel=2,
    pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, control_symbols="[CLS],[SEP],[MASK]",
)
Path("config.json").write_text(json.dumps({"model_type": "albert"}))
seen = {}
for options in ({}, {"add_bos_token": False}, {"add_bos_token": True}):
    made = AutoTokenizer.from_pretrained(".", **options)
    tokens = made.convert_ids_to_tokens(made("two").input_ids)
    seen[str(options)] = (tokens[0] == "[CLS]", tokens[-1] == "[SEP]")
    print(options, tokens)
wanted = [(True, True), (False, False), (True, False)]
sys.exit(0 if list(seen.values()) == wanted else "this has changed")
PYTHON
