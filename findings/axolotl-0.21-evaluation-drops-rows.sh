#!/usr/bin/env bash
# axolotl 0.21.0, sample_packing: true with eval_sample_packing: false.
#
# Expected: every validation row is evaluated (0.21 itself advises eval_sample_packing: False where
# validation rows are too few to be packed), as it is without packing.
# Seen: only whole batches are. The builder sets dataloader_drop_last for the sake of training, and
# the evaluation's loader obeys it, too: of 10 rows at eval_batch_size 4 two are never looked at, of
# 3 rows none is. dataloader_drop_last: false in the file gives all rows back.
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

import yaml
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from axolotl.cli.config import load_cfg
from axolotl.common.datasets import TrainDatasetMeta
from axolotl.train import setup_model_and_trainer

logging.disable(logging.WARNING)
words = {f"w{i}": i for i in range(30)} | {"<unk>": 30, "</s>": 31}
plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
plain.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(
    tokenizer_object=plain, unk_token="<unk>", eos_token="</s>", pad_token="<unk>"
).save_pretrained("model")
LlamaForCausalLM(LlamaConfig(
    vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
    num_attention_heads=2, max_position_embeddings=64)).save_pretrained("model")


def rows(count):
    """Rows of token ids, with the columns that Axolotl adds where rows are packed."""
    ids = [[i % 30, 1, 2, 31] for i in range(count)]
    more = {"attention_mask": [1] * 4, "position_ids": [0, 1, 2, 3], "length": 4}
    return Dataset.from_list([{"input_ids": row, "labels": row, **more} for row in ids])


def evaluated(count, **settings):
    """Validation rows that Axolotl's own trainer reads in an evaluation."""
    config = {
        "base_model": "model", "datasets": [{"path": "train.jsonl", "ds_type": "json"}],
        "test_datasets": [{"path": "held-out.jsonl", "ds_type": "json", "split": "train"}],
        "output_dir": "out",
        "sequence_len": 32, "micro_batch_size": 2, "gradient_accumulation_steps": 1,
        "eval_batch_size": 4, "max_steps": 1, "learning_rate": 1e-3, "optimizer": "adamw_torch",
        "attn_implementation": "sdpa", "eval_steps": 1, **settings,
    }
    Path("config.yaml").write_text(yaml.safe_dump(config))
    cfg = load_cfg("config.yaml")
    meta = TrainDatasetMeta(train_dataset=rows(40), eval_dataset=rows(count), total_num_steps=1)
    trainer = setup_model_and_trainer(cfg, meta)[0]
    return sum(len(batch["input_ids"]) for batch in trainer.get_eval_dataloader())


packed = {"sample_packing": True, "eval_sample_packing": False}
seen = {
    "no packing": [evaluated(10, sample_packing=False), evaluated(3, sample_packing=False)],
    "packing": [evaluated(10, **packed), evaluated(3, **packed)],
    "packing, dataloader_drop_last: false": [
        evaluated(count, **packed, dataloader_drop_last=False) for count in (10, 3)],
}
print("axolotl", version("axolotl"))
for name, counts in seen.items():
    print(f"{name}: {counts[0]} of 10 rows, {counts[1]} of 3")
sys.exit(0 if list(seen.values()) == [[10, 3], [8, 0], [10, 3]] else "this has changed")
PYTHON
