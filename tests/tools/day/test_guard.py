"""Losses and rows that no sound training has."""

import math
import re

import pytest

from tools.day import guard

VOCABULARY = 1000  # ln is 6.91


@pytest.mark.parametrize(
    ("step", "logs"),
    [
        (1, {"loss": 6.9}),
        (1, {"loss": 8.9}),
        (1, {"loss": 1e-9}),
        (5, {"loss": 20.0}),  # a spike is no reason: only the first loss tells of a broken model
        (5, {"eval_loss": 3.0}),
        (5, {"train_runtime": 9.0}),
        (5, {}),
    ],
)
def test_a_sound_training(step: int, logs: dict[str, float]) -> None:
    assert guard.loss_fault(step, logs, VOCABULARY) == ""


@pytest.mark.parametrize(
    ("step", "logs", "said"),
    [
        (7, {"loss": math.nan}, "loss became nan by step 7"),
        (7, {"loss": math.inf}, "loss became inf by step 7"),
        (7, {"eval_loss": math.nan}, "eval_loss became nan by step 7"),
        (7, {"loss": 0.0}, "exactly 0 at step 7"),
        (1, {"loss": 8.92}, "first loss is 8.92; .* 1,000 tokens has 6.91"),
        (1, {"loss": math.nan}, "became nan"),
    ],
)
def test_a_broken_training(step: int, logs: dict[str, float], said: str) -> None:
    assert re.search(said, guard.loss_fault(step, logs, VOCABULARY))


def test_a_loss_that_weighs_tokens_has_no_bound_to_know() -> None:
    assert guard.loss_fault(1, {"loss": 20.0}, VOCABULARY, plain=False) == ""
    assert "became nan" in guard.loss_fault(1, {"loss": math.nan}, VOCABULARY, plain=False)


@pytest.mark.parametrize(("share", "said"), [(0.0, "0 %"), (1.0, "100 %"), (0.01, ""), (0.99, "")])
def test_the_share_of_learnt_tokens(share: float, said: str) -> None:
    found = guard.share_fault(share)
    assert said in found and bool(found) == bool(said)
    assert not said or "data.sources" in found


def test_weights_that_are_no_numbers() -> None:
    assert "by step 9" in guard.weights_fault(9)
