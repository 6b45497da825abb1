"""From logits to tokens and scores."""

import math
from typing import Any

import pytest
import torch

from serve.engine.base import EngineError, GenRequest
from serve.engine.sampling import check, choose, draw, generator, likeliest, score

LOGITS = torch.tensor([1.0, 3.0, 2.0, 3.0, -5.0])


def drawn(count: int = 300, **options: Any) -> set[int]:
    request = GenRequest("x", (0,), temperature=1.0, **options)
    numbers = generator(1)
    return {choose(LOGITS, request, numbers) for _ in range(count)}


@pytest.mark.parametrize("temperature", [0.0, 1e-7, 1e-5])
def test_greedy_takes_the_lowest_of_equal_ids(temperature: float) -> None:
    assert choose(LOGITS, GenRequest("x", (0,), temperature=temperature), generator(None)) == 1


def test_top_k_and_top_p_limit_what_is_drawn() -> None:
    assert drawn() >= {0, 1, 2, 3}
    assert drawn(top_k=2) == {1, 3}
    assert drawn(top_k=10**9) == drawn(top_k=-1) == drawn()
    assert drawn(top_p=0.5) == {1, 3}
    assert len(drawn(top_p=0.0)) == 1


def test_draws_follow_the_distribution() -> None:
    numbers, request = generator(5), GenRequest("x", (0,), temperature=2.0)
    draws = [choose(LOGITS, request, numbers) for _ in range(4000)]
    expected = (LOGITS / 2).softmax(-1)
    for token in range(5):
        assert abs(draws.count(token) / 4000 - float(expected[token])) < 0.03


@pytest.mark.parametrize("temperature", [2e-5, 1e300])
def test_extreme_temperatures_do_not_break_sampling(temperature: float) -> None:
    assert 0 <= choose(LOGITS, GenRequest("x", (0,), temperature=temperature), generator(0)) < 5


def test_score_is_raw_and_untempered() -> None:
    [one] = score(LOGITS[None], [2], candidates=3)
    expected = LOGITS.log_softmax(-1)
    assert one.logprob == pytest.approx(float(expected[2]))
    assert [token for token, _ in one.candidates][2] == 2
    assert {token for token, _ in one.candidates} == {1, 2, 3}


def test_scores_are_finite_and_not_positive() -> None:
    [certain, hopeless] = score(
        torch.tensor([[0.0, -math.inf], [200.0, -math.inf]]), [0, 1], candidates=9
    )
    assert (certain.logprob, hopeless.logprob) == (0.0, -9999.0)
    assert len(hopeless.candidates) == 2
    assert score(torch.zeros(0, 4), [], candidates=1) == []
    assert score(torch.zeros(1, 4), [0], candidates=0)[0].candidates == ()


def test_nan_is_refused() -> None:
    with pytest.raises(EngineError, match="NaN"):
        check(torch.tensor([0.0, math.nan]))


def test_barred_ids_are_not_chosen_and_scores_stay_the_model_s() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    requests = [GenRequest("r", (1,), candidates=1)] * 2
    free, barred = draw(logits, requests, [generator(0)] * 2, [(), (0, 99)])
    assert isinstance(free, tuple) and isinstance(barred, tuple)
    assert (free[0], barred[0]) == (0, 1)
    assert free[1].candidates == barred[1].candidates
    assert barred[1].logprob == pytest.approx(float(logits[1].log_softmax(-1)[1]))


@pytest.mark.parametrize("temperature", [2e-5, 1.0, 1e300])
def test_what_is_barred_stays_so_at_any_temperature(temperature: float) -> None:
    """In one row (least tokens) or in all (padding): -inf over an infinite temperature is NaN."""
    request = GenRequest("r", (1,), temperature=temperature)
    for seed in range(20):
        rows = draw(
            LOGITS[None].repeat(2, 1), [request] * 2, [generator(seed)] * 2, [(1,), ()], {3}
        )
        tokens = [row[0] for row in rows if isinstance(row, tuple)]
        assert len(tokens) == 2 and tokens[0] not in (1, 3) and tokens[1] != 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_likeliest_is_the_lowest_of_equal_ids(dtype: torch.dtype) -> None:
    rows = torch.stack([LOGITS, LOGITS.flip(0)]).to(dtype)
    assert likeliest(rows).tolist() == [1, 1]
    assert likeliest(rows[:, ::2]).tolist() == [1, 1]  # a view with gaps


def test_one_candidate_is_the_first_of_several() -> None:
    one, two = (score(LOGITS[None], [0], count)[0].candidates for count in (1, 2))
    assert one == two[:1]
    assert score(LOGITS[None], [0], 0)[0].candidates == ()


def test_greedy_goes_round_what_is_barred() -> None:
    requests = [GenRequest(str(row), (0,)) for row in range(3)]
    numbers = [generator(1)] * 3
    made = draw(LOGITS.expand(3, -1), requests, numbers, [(), (1,), {1, 3}], never={0})
    assert [one[0] for one in made if not isinstance(one, EngineError)] == [1, 3, 2]
