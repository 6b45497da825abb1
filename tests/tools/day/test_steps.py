"""Settings that count steps, beside how many there are."""

from typing import Any

import pytest

from tools.day.steps import beyond


@pytest.mark.parametrize(
    ("train", "keys"),
    [
        ({"warmup_steps": 10}, ["warmup_steps"]),
        ({"warmup_steps": 9, "eval_steps": 10, "save_steps": 10}, []),
        ({"eval_steps": 11, "save_steps": 12}, ["eval_steps", "save_steps"]),
        ({"eval_steps": 11, "eval_strategy": "epoch"}, []),
        ({"save_steps": 0.5, "eval_steps": None}, []),
    ],
)
def test_what_comes_after_the_last_step(train: dict[str, Any], keys: list[str]) -> None:
    found = list(beyond(train, 10))
    assert [one.key for one in found] == [f"train.{key}" for key in keys]
    assert all("10 steps at the most" in one.said and one.remedy for one in found)


def test_nothing_is_said_where_steps_are_not_known() -> None:
    assert list(beyond({"warmup_steps": 10, "eval_steps": 11}, 0)) == []
