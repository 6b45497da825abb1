"""Every family trained in this process: it learns, twice alike, and goes on as if never stopped."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests import kin
from tools.day import checkpoints
from tools.day.clock import Allowance
from tools.day.schedule import VARIABLE, Day
from tools.trainers import answering, callbacks, masked, seq2seq

#: One of each kind in every test run, all families where slow ones are asked for.
ALL = bool(os.environ.get("ONEDAY_TEST_ALL"))
FAMILIES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            not ALL and name not in ("t5", "bert"), reason="slow: make test-all runs it"
        ),
    )
    for name in kin.FAMILIES
]


class Stopped(Exception):
    """In place of a kill."""


@pytest.fixture(autouse=True)
def day(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that is told of a day: sealed checkpoints, its schedule, its guard."""
    monkeypatch.setenv(VARIABLE, Day(Allowance(0.0, 0.0, 1e9), 1e9).dump())


def settings(folder: Path, family: str, **values: Any) -> dict[str, Any]:
    rng = random.Random(0)
    examples = [
        {
            "prompt_ids": [rng.randrange(5, 90) for _ in range(rng.randint(3, 12))],
            "answer_ids": [*[20 + number % 3] * (1 + number % 2), 1],
        }
        for number in range(24)
    ]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in examples))
    return {
        "base_model": str(folder / family), "device": "cpu", "order": "shuffled", "seed": 3,
        "kind": "seq2seq" if family in kin.SEQ2SEQ else "encoder", "new_head": [],
        "train_rows": str(file), "validation_rows": str(file), "output_dir": str(folder / "out"),
        "special_ids": {"end": 1, "pad": 0, "mask": 4, "trail": [1]}, "adapter": "lora",
        "lora_r": 4, "lora_dropout": 0.1, "lora_target_linear": True, "learning_rate": 1e-2,
        "micro_batch_size": 4, "gradient_accumulation_steps": 2, "num_epochs": 4,
        "group_by_length": True, "optimizer": "adamw_torch", "lr_scheduler": "cosine",
        "save_strategy": "steps", "save_steps": 4, "eval_strategy": "steps", "eval_steps": 4,
        "logging_steps": 1, "load_best_model_at_end": True, "metric_for_best_model": "eval_loss",
        "greater_is_better": False, "save_total_limit": 2, **values,
    }  # fmt: skip


def run(folder: Path, family: str, output: str, **values: Any) -> dict[str, bytes]:
    """Train; the files that are left but the prose."""
    asked = settings(folder, family, output_dir=str(folder / output), **values)
    (folder / output).mkdir(exist_ok=True)
    maker: Callable[..., Any] = seq2seq.make if asked["kind"] == "seq2seq" else masked.make
    answering.train(asked, maker)
    found = (folder / output).glob("*.*")
    return {
        path.name: path.read_bytes() for path in found if path.suffix in (".json", ".safetensors")
    }


def stopping(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the training behind a step, as a kill would."""
    plain = callbacks.tell

    def tell(alone: bool = False, /, **fields: Any) -> None:
        plain(alone, **fields)
        if fields["event"] == "step" and fields["step"] == at:
            raise Stopped

    monkeypatch.setattr(callbacks, "tell", tell)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_and_goes_on_byte_for_byte(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kin.folder(family, tmp_path / family)
    alone = run(tmp_path, family, "alone")
    assert "adapter_model.safetensors" in alone
    state = checkpoints.state(checkpoints.found(tmp_path / "alone")[0])
    told = state["log_history"]
    held_out = [one["eval_loss"] for one in told if "eval_loss" in one]
    # ALBERT's one layer has learnt all it can before the first evaluation, at step 4.
    assert held_out[-1] < told[0]["loss"] - 0.2

    with monkeypatch.context() as patch:
        stopping(6, patch)  # in the second of four epochs, two steps behind a checkpoint
        with pytest.raises(Stopped):
            run(tmp_path, family, "killed")
    assert [path.name for path in checkpoints.found(tmp_path / "killed")] == ["checkpoint-4"]
    assert run(tmp_path, family, "killed") == alone


def test_all_weights_are_left_as_a_model(tmp_path: Path) -> None:
    kin.folder("bert", tmp_path / "bert")
    made = run(tmp_path, "bert", "whole", adapter=None, learning_rate=1e-3, max_steps=2)
    assert "model.safetensors" in made and "config.json" in made
    before = load_file(tmp_path / "bert" / "model.safetensors")
    after = load_file(tmp_path / "whole" / "model.safetensors")
    assert before.keys() == after.keys()
    assert any(not one.equal(after[name]) for name, one in before.items())


def test_a_patience_ends_it_early(tmp_path: Path) -> None:
    kin.folder("bert", tmp_path / "bert")
    values = {"learning_rate": 0.0, "early_stopping_patience": 1, "save_steps": 2, "eval_steps": 2}
    run(tmp_path, "bert", "early", **values)
    newest = checkpoints.state(checkpoints.found(tmp_path / "early")[0])
    assert newest["global_step"] < newest["max_steps"]
