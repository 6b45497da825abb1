"""Whether a difference is more than noise: on made-up answers whose truth is known."""

import random

import pytest

from tools.score.difference import FEWEST, NOISE, Pairs, paired


def flat(*gains: float) -> Pairs:
    return {"a": [(0.5, 0.5 + gain) for gain in gains]}


def test_nothing_asked_is_nothing_said() -> None:
    assert paired({}) is None and paired({"a": []}) is None


def test_the_interval_is_that_of_a_share() -> None:
    """Of 100 questions 20 changed hands, to one side: as a binomial of 20 %."""
    made = paired(flat(*[1.0] * 20, *[0.0] * 80))
    assert made is not None
    assert made.mean == pytest.approx(0.2) and (made.questions, made.changed) == (100, 20)
    assert made.interval == (pytest.approx(0.125, abs=0.011), pytest.approx(0.28, abs=0.011))
    assert made.verdict() == "better: more than noise"
    assert made.verdict(higher=False) == "worse: more than noise"
    assert made.ends == "+0.130 to +0.280"


def test_what_is_hard_for_both_is_no_noise() -> None:
    """Unpaired, shares of 50 % and 58 % of 100 overlap by far."""
    pairs = [(1.0, 1.0)] * 50 + [(0.0, 0.0)] * 42 + [(0.0, 1.0)] * 8
    made = paired({"a": pairs})
    assert made is not None and made.clear and made.interval[0] > 0.02


def test_a_mean_over_run_specs_weighs_each_the_same() -> None:
    made = paired({"a": [(0.0, 1.0)] * 90, "b": [(1.0, 0.0)] * 10, "none": []})
    assert made is not None
    assert (made.mean, made.run_specs, made.questions) == (0.0, 2, 100)
    assert made.interval == (0.0, 0.0) and made.verdict() == NOISE


def test_too_few_that_changed_hands_show_nothing() -> None:
    five, six = (paired(flat(*[-1.0] * count)) for count in (FEWEST - 1, FEWEST))
    assert five is not None and six is not None
    assert five.interval == six.interval == (-1.0, -1.0)
    assert five.verdict() == NOISE and six.verdict() == "worse: more than noise"


def test_the_same_answers_give_the_same_interval_whoever_else_is_drawn() -> None:
    rng = random.Random(3)
    one = [(0.0, rng.random() - 0.3) for _ in range(40)]
    assert paired({"a": one}) == paired({"a": one})
    other = paired({"b": one})
    alone = paired({"a": one})
    assert alone is not None and other is not None and alone.interval != other.interval


@pytest.mark.parametrize("count", [20, 60, 200])
def test_what_is_noise_is_seldom_called_more(count: int) -> None:
    """Both are right as often; of 400 pairs about one in twenty is called otherwise."""
    rng, called = random.Random(count), 0
    for _ in range(400):
        gains = [rng.choice((-1.0, 1.0)) if rng.random() < 0.3 else 0.0 for _ in range(count)]
        made = paired(flat(*gains))
        called += bool(made and made.clear)
    assert called / 400 < 0.085


def test_many_questions_take_no_more_memory_than_few() -> None:
    made = paired({"a": [(0.0, float(number % 3 == 0)) for number in range(14_000)]})
    assert made is not None and made.interval[1] - made.interval[0] < 0.02
