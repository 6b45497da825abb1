#!/usr/bin/env bash
# lm_eval 0.4.11 (by reading 0.4.13, too), local-completions with tokenized requests.
#
# Expected: a task that asks for more new tokens (max_gen_toks) than the model's context has room for is
# refused, or asks for fewer; or else its prompt is at least asked whole.
# Seen: the prompt is cut to its last max_length - 1 - max_gen_toks tokens with x[-room:]. Where room is
# negative that takes as many tokens off its head: a few, or all, and an empty prompt is sent. Where it is
# 0 the prompt stays whole. A warning says "left truncated" in each case. The task aime25, which asks for
# 32,768 new tokens, has an empty prompt with every context below 32,768 less the prompt's length.
# So tools/evaluate/lm_lengths.py refuses such tasks.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet "lm_eval[api]==0.4.11" transformers==5.20.1 torch==2.13.0
fi
cd "$folder"
HF_HUB_OFFLINE=1 TQDM_DISABLE=1 "$python" - <<'PYTHON'
import logging
from importlib.metadata import version

from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

logging.disable(logging.WARNING)
words = Tokenizer(models.WordLevel({"w": 0, "</s>": 1}, unk_token="w"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained("model")
sent = []


class Witness(LocalCompletionsAPI):
    def model_call(self, messages, **how):
        sent.append(len(messages[0]))
        return {"choices": [{"index": 0, "text": "w"}]}


model = Witness(
    model="model", base_url="http://127.0.0.1:1/v1/completions", tokenizer="model", max_length=100,
    tokenized_requests=True, num_concurrent=1,
)
print(f"lm_eval {version('lm_eval')}: a context of 100 tokens, a prompt of 40")
for length in (50, 70, 99, 109, 200):
    asked = (" ".join(["w"] * 40), {"until": [], "max_gen_toks": length})
    model.generate_until([Instance("generate_until", {}, asked, 0)], disable_tqdm=True)
    print(f"max_gen_toks {length}: {sent[-1]} tokens of the prompt are sent")
assert sent == [40, 29, 40, 30, 0], sent
PYTHON
