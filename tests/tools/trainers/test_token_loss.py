"""eval_loss: a mean over tokens that no batch size moves."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from tools.trainers.token_loss import IGNORED, TokenLoss, evaluate_evenly


def rows() -> list[dict[str, list[int]]]:
    """Eight rows of 4 to 18 tokens; of each only the second half is learnt, of one nothing."""
    made = []
    for index in range(8):
        ids = [(7 * index + 3 * place) % 50 for place in range(4 + 2 * index)]
        half = len(ids) // 2
        labels = [IGNORED] * half + ids[half:] if index != 5 else [IGNORED] * len(ids)
        made.append({"input_ids": ids, "labels": labels})
    return made


def collate(batch: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in batch)
    ids = [row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in batch]
    mask = [[int(i < len(row["input_ids"])) for i in range(longest)] for row in batch]
    labels = [row["labels"] + [IGNORED] * (longest - len(row["labels"])) for row in batch]
    made = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: torch.tensor(value) for name, value in made.items()}


def trainer(folder: Path, batch: int) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, initializer_range=0.5,
    )  # fmt: skip
    arguments = TrainingArguments(
        str(folder), per_device_eval_batch_size=batch, report_to=[], use_cpu=True, disable_tqdm=True
    )
    return Trainer(LlamaForCausalLM(config), arguments, data_collator=collate, eval_dataset=rows())


def by_hand(model: Any) -> float:
    """The mean over every learnt token, each row alone."""
    lost: list[float] = []
    for row in rows():
        with torch.no_grad():
            scores = model(torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
        pairs = zip(scores, row["labels"][1:], strict=True)
        lost += [-float(score[label]) for score, label in pairs if label != IGNORED]
    return sum(lost) / len(lost)


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_no_batch_size_moves_it(batch: int, tmp_path: Path) -> None:
    made = trainer(tmp_path, batch)
    TokenLoss(made)
    assert made.evaluate()["eval_loss"] == pytest.approx(by_hand(made.model), rel=1e-5)


def test_transformers_own_depends_on_it(tmp_path: Path) -> None:
    """When this fails, transformers averages over tokens itself and TokenLoss can go."""
    losses = {batch: trainer(tmp_path, batch).evaluate()["eval_loss"] for batch in (2, 8)}
    assert abs(losses[2] - losses[8]) > 0.01 or math.isnan(losses[2])


def weighed(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
    """A loss that is trained, and no cross entropy."""
    return outputs.logits.sum() * 0 + 123.0


def test_whatever_is_trained_the_plain_loss_is_evaluated(tmp_path: Path) -> None:
    made = trainer(tmp_path, 2)
    made.compute_loss_func = weighed
    assert made.evaluate()["eval_loss"] == 123.0, "transformers evaluates by the plain loss itself"
    TokenLoss(made)
    assert made.evaluate()["eval_loss"] == pytest.approx(by_hand(made.model), rel=1e-5)
    assert made.compute_loss_func is weighed
    assert float(made.compute_loss(made.model, collate(rows()))) == 123.0


def test_each_evaluation_counts_for_itself(tmp_path: Path) -> None:
    made = trainer(tmp_path, 2)
    TokenLoss(made)
    first = made.evaluate()["eval_loss"]
    assert made.evaluate()["eval_loss"] == first
    assert made.evaluate(metric_key_prefix="test")["test_loss"] == first


def test_rows_without_a_learnt_token_give_nan_and_no_error(tmp_path: Path) -> None:
    made = trainer(tmp_path, 2)
    TokenLoss(made)
    assert math.isnan(made.evaluate(rows()[5:6])["eval_loss"])


@pytest.mark.parametrize("packed", [False, True])
def test_every_job_evaluates_as_many_batches(packed: bool) -> None:
    """Packs of held-out rows are shared out by Axolotl's own sampler."""
    made = SimpleNamespace(
        args=SimpleNamespace(eval_sample_packing=packed),
        accelerator=SimpleNamespace(even_batches=False),
    )
    made.get_eval_dataloader = lambda rows: (rows, made.accelerator.even_batches)
    evaluate_evenly(made)
    assert made.get_eval_dataloader("rows") == ("rows", not packed)
