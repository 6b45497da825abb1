#!/usr/bin/env bash
# axolotl 0.21.0 (transformers 5.20.1), two processes with rows of unlike length.
#
# Expected: a step counts every learnt token once, as one process does that accumulates the same rows;
# transformers does so by itself (average_tokens_across_devices is on by default), and a file that asks
# for it gets it.
# Seen: Axolotl's builder turns it off, always; the key in the file is not taken. Each process divides by
# its own tokens and the two means are averaged: where one has a row of 62 learnt tokens and the other
# one of 2, those two weigh as much as the 62. The logged loss and the gradient are other ones than one
# process has. Nothing is said.
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
cat > step.py <<'PYTHON'
"""One step over a long and a short row, by one process and by two: what is logged."""

import json
import logging
import os
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

import torch
import yaml
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from axolotl.cli.config import load_cfg
from axolotl.common.datasets import TrainDatasetMeta
from axolotl.train import setup_model_and_trainer
from axolotl.utils import environment

logging.disable(logging.WARNING)
environment.check_cuda_p2p_support = lambda: True  # of two processes it asks cards, also on a CPU
LENGTHS = (63, 3)
WAYS = ("one", "two", "two, asked", "two, set on the trainer")


def prepare():
    words = {f"w{i}": i for i in range(62)} | {"<unk>": 62, "</s>": 63}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<unk>", eos_token="</s>", pad_token="<unk>"
    ).save_pretrained("model")
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        initializer_range=0.3, num_attention_heads=2, max_position_embeddings=64)
    ).save_pretrained("model")


def step(way, processes):
    """One optimizer step; the first process writes loss and gradient's norm."""
    ids = [[(11 * place) % 62 for place in range(length)] for length in LENGTHS]
    rows = [{"input_ids": row, "labels": row, "attention_mask": [1] * len(row)} for row in ids]
    config = {
        "base_model": "model", "datasets": [{"path": "train.jsonl", "ds_type": "json"}],
        "output_dir": f"out-{way}", "sequence_len": 64, "micro_batch_size": 1,
        "gradient_accumulation_steps": len(LENGTHS) // processes, "max_steps": 1,
        "learning_rate": 1e-3, "lr_scheduler": "constant", "warmup_steps": 0, "logging_steps": 1,
        "optimizer": "adamw_torch", "attn_implementation": "sdpa", "bf16": False, "tf32": False,
        "fp16": False, "seed": 1, "max_grad_norm": 1000.0, "save_strategy": "no",
        **({"average_tokens_across_devices": True} if way == "two, asked" else {}),
    }
    file = f"{way}-{os.environ['RANK']}.yaml"
    Path(file).write_text(yaml.safe_dump(config))
    meta = TrainDatasetMeta(
        train_dataset=Dataset.from_list(rows), eval_dataset=None, total_num_steps=1)
    cfg = load_cfg(file)
    cfg.device_map = {"": "cpu"}  # it would give each of two processes a card
    trainer = setup_model_and_trainer(cfg, meta)[0]
    if way == "two, set on the trainer":
        trainer.args.average_tokens_across_devices = True
    trainer.train()
    assert trainer.accelerator.num_processes == processes
    if trainer.is_world_process_zero():
        logged = next(entry for entry in trainer.state.log_history if "grad_norm" in entry)
        seen = {"loss": float(logged["loss"]), "norm": float(logged["grad_norm"])}
        Path(f"{way}.json").write_text(json.dumps(seen))


def carry_out(way, port):
    """The way in processes of its own, told what torchrun tells."""
    processes, children = 1 if way == "one" else 2, []
    for rank in range(processes):
        if child := os.fork():
            children.append(child)
            continue
        places = {"RANK": rank, "LOCAL_RANK": rank} if processes > 1 else {"RANK": 0}
        world = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_PORT": port,
                 "MASTER_ADDR": "127.0.0.1"} if processes > 1 else {}
        os.environ |= {name: str(value) for name, value in {**places, **world}.items()}
        code = 1
        try:
            step(way, processes)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    if any(os.waitpid(child, 0)[1] for child in children):
        sys.exit(f"{way}: a process failed")


print("axolotl", version("axolotl"), "transformers", version("transformers"))
prepare()
for number, way in enumerate(WAYS):
    carry_out(way, int(sys.argv[1]) + number)
seen = {way: json.loads(Path(f"{way}.json").read_text()) for way in WAYS}
for way, what in seen.items():
    print(f"{way}: loss {what['loss']:.4f}, gradient's norm {what['norm']:.4f}")


def alike(way):
    return all(abs(seen[way][name] / seen["one"][name] - 1) < 0.005 for name in ("loss", "norm"))


changed = [alike(way) for way in WAYS] != [True, False, False, True]
sys.exit("this has changed" if changed else 0)
PYTHON
export AXOLOTL_DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1
export ACCELERATE_USE_CPU=true
"$python" step.py $((20000 + RANDOM % 9000)) 2> errors.txt || { tail -20 errors.txt; exit 1; }
