"""What ``test_processes.py`` has torchrun start twice: a trainer with our plugin, of a few weights.

``python -m torch.distributed.run … two_jobs.py FOLDER``: the first job writes what both saw.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from tests.tools.trainers.test_token_loss import collate
from tools.axolotl import processes
from tools.day import schedule
from tools.day.clock import Allowance

TRAIN, HELD_OUT, EPOCHS = 24, 7, 3  # rows; a round of two jobs evaluates four
Row = dict[str, list[int]]


def rows(first: int, count: int) -> list[Row]:
    """Rows of several lengths, each beginning with its number."""
    made = []
    for number in range(first, first + count):
        ids = [number, *((number * 7 + place * 3) % 40 for place in range(4 + 3 * (number % 6)))]
        made.append({"input_ids": ids, "labels": ids})
    return made


def by_hand(model: Any) -> float:
    """The mean over every held-out token, each row alone."""
    lost: list[float] = []
    for row in rows(TRAIN, HELD_OUT):
        with torch.no_grad():
            scores = model(torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
        lost += [-float(one[label]) for one, label in zip(scores, row["labels"][1:], strict=True)]
    return sum(lost) / len(lost)


def main(folder: Path) -> None:
    """Train, and write the numbers of the rows by job, and eval_loss beside that by hand."""
    processes.join()
    from axolotl.utils.dict import DictDefault

    from tools.axolotl.plugin import OnedayPlugin

    os.environ[schedule.VARIABLE] = schedule.Day(Allowance(0.0, 0.0, 1e9), 1e9).dump()
    seen: list[int] = []

    def note(batch: list[Row]) -> dict[str, torch.Tensor]:
        seen.extend(row["input_ids"][0] for row in batch if row["input_ids"][0] < TRAIN)
        return collate(batch)

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=8, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, attention_dropout=0.3, initializer_range=0.5,
    )  # fmt: skip
    args = TrainingArguments(
        str(folder), per_device_train_batch_size=2, per_device_eval_batch_size=2, report_to=[],
        num_train_epochs=EPOCHS, learning_rate=0.01, use_cpu=True, disable_tqdm=True, seed=1,
        train_sampling_strategy="group_by_length", save_strategy="epoch", eval_strategy="epoch",
    )  # fmt: skip
    held_out: Any = rows(TRAIN, HELD_OUT)
    trainer: Any = Trainer(
        LlamaForCausalLM(config), args, data_collator=note, train_dataset=rows(0, TRAIN),
        eval_dataset=held_out,
    )  # fmt: skip
    OnedayPlugin().post_trainer_create(DictDefault({}), trainer)
    trainer.train()
    loss = trainer.evaluate()["eval_loss"]
    both = gather_object([seen])
    if trainer.is_world_process_zero():
        trainer.model.eval()
        found = {"seen": both, "eval_loss": loss, "by_hand": by_hand(trainer.model)}
        (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
