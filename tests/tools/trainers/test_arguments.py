"""Axolotl's keys as transformers' arguments: each that a kind understands does something."""

from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from tools.recipe.kinds import TRAIN_KEYS
from tools.trainers.arguments import arguments


def settings(**values: Any) -> dict[str, Any]:
    return {"output_dir": "somewhere", "device": "cpu", "seed": 3, "order": "shuffled", **values}


def made(**values: Any) -> Any:
    return TrainingArguments(**arguments(settings(**values)))


def test_names_and_values() -> None:
    found = made(
        learning_rate=1e-3, optimizer="adamw_torch", lr_scheduler="cosine", micro_batch_size=3,
        gradient_accumulation_steps=2, num_epochs=4, weight_decay=0.1, adam_beta2=0.9,
        max_grad_norm=0.5, save_total_limit=1, logging_steps=7, warmup_ratio=0.1,
    )  # fmt: skip
    assert (found.learning_rate, found.optim, found.lr_scheduler_type) == (
        1e-3, "adamw_torch", "cosine",
    )  # fmt: skip
    assert (found.per_device_train_batch_size, found.per_device_eval_batch_size) == (3, 3)
    assert (found.num_train_epochs, found.seed, found.logging_steps) == (4, 3, 7)
    assert found.get_warmup_steps(200) == 20
    assert found.label_names == ["labels"] and not found.remove_unused_columns


@pytest.mark.parametrize(
    ("values", "strategy"),
    [
        ({}, "random"),
        ({"group_by_length": True}, "group_by_length"),
        ({"group_by_length": True, "order": "easy-first"}, "sequential"),
        ({"order": "listed"}, "sequential"),
    ],
)
def test_the_order_of_rows(values: dict[str, Any], strategy: str) -> None:
    assert made(**values).train_sampling_strategy == strategy


def test_so_many_times_an_epoch() -> None:
    found = made(evals_per_epoch=2, saves_per_epoch=1, num_epochs=4)
    assert (found.eval_steps, found.save_steps) == (1 / 8, 1 / 4)
    assert found.eval_strategy == "steps"


def test_steps_win_where_both_name_the_warm_up() -> None:
    assert made(warmup_steps=9).get_warmup_steps(200) == 9


#: Keys that are for others than the arguments: the adapter, the rows, the model, what stops early.
ELSEWHERE = {
    "adapter", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_linear",
    "lora_modules_to_save", "peft_use_dora", "peft_use_rslora", "sequence_len",
    "attn_implementation", "excess_length_strategy", "early_stopping_patience",
    "lr_groups", "unfrozen_parameters", "overrides_of_model_config",
}  # fmt: skip
ODD: dict[str, Any] = {
    "optimizer": "sgd", "lr_scheduler": "linear", "lr_scheduler_kwargs": {"a": 1}, "bf16": True,
    "fp16": True, "eval_strategy": "epoch", "save_strategy": "epoch", "group_by_length": True,
    "metric_for_best_model": "loss", "gradient_checkpointing_kwargs": {"use_reentrant": True},
    "gradient_checkpointing": True, "load_best_model_at_end": True, "greater_is_better": True,
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(TRAIN_KEYS - ELSEWHERE))
def test_every_key_is_read(key: str) -> None:
    card = settings(device="cuda")
    value = True if key == "tf32" else ODD.get(key, 5)
    assert arguments({**card, key: value}) != arguments(card)


def test_nothing_else_is_understood() -> None:
    assert ELSEWHERE < TRAIN_KEYS
    source = Path(__file__).parents[3] / "tools" / "trainers" / "answering.py"
    text = source.read_text(encoding="utf-8")
    others = ELSEWHERE - {"sequence_len", "excess_length_strategy"}  # of tools.data.tokens
    assert all(f'"{key}"' in text for key in others)
