#!/usr/bin/env bash
# axolotl 0.21.0 (transformers 5.20.1), use_dft: true with load_best_model_at_end: true.
#
# Expected: the loss that is trained is DFT's; held-out rows are judged by the plain cross entropy, as
# without use_dft, and the checkpoint that knows them best is kept.
# Seen: transformers evaluates by compute_loss_func, too. DFT weighs a token by its own probability,
# and p * -log p is small for a token that the model finds next to impossible: while the cross entropy
# of the held-out rows falls by half, eval_loss grows to four times what it was, and of all checkpoints
# the one with the highest cross entropy is loaded at the end. Nothing is said.
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
AXOLOTL_DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES="" "$python" - <<'PYTHON'
import logging
import random
import sys
from importlib.metadata import version
from pathlib import Path

import torch
import yaml
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback

from axolotl.cli.config import load_cfg
from axolotl.common.datasets import TrainDatasetMeta
from axolotl.train import setup_model_and_trainer

logging.disable(logging.WARNING)
words = {f"w{i}": i for i in range(62)} | {"<unk>": 62, "</s>": 63}
plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
plain.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(
    tokenizer_object=plain, unk_token="<unk>", eos_token="</s>", pad_token="<unk>"
).save_pretrained("model")
torch.manual_seed(0)
LlamaForCausalLM(LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
    num_attention_heads=2, max_position_embeddings=64)).save_pretrained("model")


def rows(count, seed):
    """Texts in which each word is followed by one of four, chosen at random."""
    drawn, made = random.Random(seed), []
    for _ in range(count):
        ids = [drawn.randrange(62)]
        while len(ids) < 32:
            ids.append((7 * ids[-1] + drawn.randrange(4)) % 62)
        made.append({"input_ids": ids, "labels": ids, "attention_mask": [1] * 32})
    return Dataset.from_list(made)


HELD_OUT = rows(16, 1)


class Judge(TrainerCallback):
    """Takes down, at each evaluation, eval_loss and the cross entropy of the held-out rows."""

    def __init__(self):
        self.seen = []

    def on_evaluate(self, args, state, control, model=None, metrics=None, **_):
        ids = torch.tensor(HELD_OUT["input_ids"])
        with torch.no_grad():
            logits = model(ids).logits[:, :-1].flatten(0, 1)
        entropy = torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten())
        self.seen.append((state.global_step, metrics["eval_loss"], float(entropy)))


def trained(**settings):
    """What a training of 60 steps showed at each evaluation, and the step whose weights it kept."""
    out = f"out-{len(settings)}"
    config = {
        "base_model": "model", "datasets": [{"path": "train.jsonl", "ds_type": "json"}],
        "test_datasets": [{"path": "held-out.jsonl", "ds_type": "json", "split": "train"}],
        "output_dir": out, "sequence_len": 32, "micro_batch_size": 16, "eval_batch_size": 16,
        "gradient_accumulation_steps": 1, "max_steps": 60, "learning_rate": 3e-3,
        "lr_scheduler": "constant", "optimizer": "adamw_torch", "attn_implementation": "sdpa",
        "eval_steps": 20, "save_steps": 20, "load_best_model_at_end": True, "bf16": False,
        "tf32": False, "fp16": False, **settings,
    }
    Path("config.yaml").write_text(yaml.safe_dump(config))
    meta = TrainDatasetMeta(
        train_dataset=rows(960, 2), eval_dataset=HELD_OUT, total_num_steps=60)
    trainer = setup_model_and_trainer(load_cfg("config.yaml"), meta)[0]
    judge = Judge()
    trainer.add_callback(judge)
    trainer.train()
    return judge.seen, trainer.state.best_global_step


print("axolotl", version("axolotl"), "transformers", version("transformers"))
kept = {}
for name, settings in {"plain": {}, "use_dft": {"use_dft": True}}.items():
    seen, best = trained(**settings)
    for step, loss, entropy in seen:
        print(f"{name}: step {step}, eval_loss {loss:.3f}, cross entropy {entropy:.3f}")
    saved = {step: entropy for step, _, entropy in seen if step}
    order = sorted(saved, key=saved.__getitem__)
    kept[name] = {order[0]: "the best", order[-1]: "the worst"}.get(best)
    print(f"{name}: kept step {best}, {kept[name]} by the cross entropy")
sys.exit(0 if kept == {"plain": "the best", "use_dft": "the worst"} else "this has changed")
PYTHON
