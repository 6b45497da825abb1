"""Curves from a trainer's log."""

import math
from typing import Any

import pytest

from tests.tools.report.conftest import TRAINED
from tools.files import read_json, write_json
from tools.report.gathered.source import Source
from tools.report.gathered.training import points, training
from tools.run.folder import RECORD, Run


def test_a_curve_has_the_steps_at_which_its_value_was_logged() -> None:
    log: list[dict[str, Any]] = [
        {"step": 5, "loss": 2.0},
        {"step": 5, "eval_loss": 1.9},
        {"step": 10, "loss": 1.0},
    ]
    assert points(log, "loss") == [[5, 2.0], [10, 1.0]]
    assert points(log, "eval_loss") == [[5, 1.9]]
    assert points(log, "learning_rate") == []


def test_what_is_no_number_is_no_point() -> None:
    log: list[dict[str, Any]] = [
        {"step": 1, "loss": math.nan},
        {"step": 2, "loss": None},
        {"step": 3, "loss": 0.0},
    ]
    assert points(log, "loss") == [[3, 0.0]]


def test_figures_are_the_record_s(whole: Run) -> None:
    found = training(Source(whole))
    assert found["first_loss"] == TRAINED["first_loss"] and found["steps"] == 60
    assert found["best_eval_loss"] == pytest.approx(2.5 / 60**0.5)
    assert found["median_tokens_per_second"] == 205
    assert [len(found["curves"][name]) for name in ("loss", "eval_loss")] == [12, 3]


def test_the_base_s_own_loss_is_not_the_best_of_the_training(whole: Run) -> None:
    file = whole.output("train") / RECORD
    record = read_json(file)
    record["metrics"]["log"].insert(0, {"step": 0, "eval_loss": 0.1})
    write_json(file, record)
    found = training(Source(whole))
    assert found["best_eval_loss"] == pytest.approx(2.5 / 60**0.5)
    assert found["curves"]["eval_loss"][0] == [0, 0.1]
