#!/usr/bin/env bash
# accelerate 1.15.0 under transformers' Trainer, a model in bf16, bf16: true, with the loss that
# Axolotl 0.21.0 has behind chunked_cross_entropy: true.
#
# Expected: the loss is computed chunk by chunk so that the logits never stand in fp32 as a whole: an
# evaluation that asks for the loss alone holds them in bf16 and a chunk in fp32, 3 bytes a token and
# word of the vocabulary.
# Seen: 6. accelerate wraps the model's forward and makes an fp32 copy of all that it returns, whole,
# the logits, too, although nobody reads them. With bf16: false (the same model in bf16, no autocast)
# there is no such copy, and it is 3.
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
cat > peak.py <<'PYTHON'
import sys
import weakref
from importlib.metadata import version

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from axolotl.monkeypatch.loss.chunked import patch_chunked_ce_loss_fn

patch_chunked_ce_loss_fn()
TOKENS, WORDS = 512, 8192


class Live(TorchDispatchMode):
    """The most bytes that new tensors held at a time."""

    def __init__(self):
        super().__init__()
        self.seen, self.now, self.most = weakref.WeakSet(), 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                if storage not in self.seen:
                    self.seen.add(storage)
                    size = storage.nbytes()
                    weakref.finalize(storage, self.gone, size)
                    self.now += size
                    self.most = max(self.most, self.now)
        return made

    def gone(self, size):
        self.now -= size


class Held(Trainer):
    """Tells in which type the logits reach the trainer."""

    def compute_loss(self, *args, **kwargs):
        loss, outputs = super().compute_loss(*args, **{**kwargs, "return_outputs": True})
        self.type = outputs["logits"].dtype
        return (loss, outputs) if kwargs.get("return_outputs") else loss


def evaluated(autocast):
    """Bytes a token and word at the peak of an evaluation, and the type of the logits."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=WORDS, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2)).to(torch.bfloat16)
    rows = [{"input_ids": list(range(TOKENS)), "labels": list(range(TOKENS))}]
    trainer = Held(model, TrainingArguments(
        "out", bf16=autocast, use_cpu=True, report_to=[], per_device_eval_batch_size=1,
        prediction_loss_only=True, disable_tqdm=True), eval_dataset=rows)
    trainer.evaluate()  # what is made once is made here
    with Live() as live:
        trainer.evaluate()
    return live.most / (TOKENS * WORDS), trainer.type


print("accelerate", version("accelerate"), "transformers", version("transformers"), "axolotl",
      version("axolotl"))
seen = {autocast: evaluated(autocast) for autocast in (False, True)}
for autocast, (size, kind) in seen.items():
    print(f"bf16={autocast}: {size:.2f} bytes a token and word, logits as {kind}")
(plain, kind), (wrapped, copied) = seen[False], seen[True]
as_told = kind == torch.bfloat16 and copied == torch.float32 and wrapped - plain > 2.0
sys.exit(0 if as_told else "this has changed")
PYTHON
# The chunks' compiled kernel, not compiled: the same sums.
AXOLOTL_DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES="" TORCHDYNAMO_DISABLE=1 \
  "$python" peak.py
