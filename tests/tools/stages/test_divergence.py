"""Two models on the same rows: the plain formulas, over the tokens that are learnt, no other."""

import math
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tools.data.tokens import Row
from tools.stages import asking, divergence
from tools.stages.divergence import Apart, Told


class Fixed:
    """A model of four words that always gives the same probabilities."""

    device = torch.device("cpu")

    def __init__(self, *probabilities: float) -> None:
        self._logits = torch.tensor(probabilities).log()

    def __call__(self, ids: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self._logits.expand(*ids.shape, -1))


HALVES = Fixed(1 / 2, 1 / 4, 1 / 8, 1 / 8)
ROWS: list[Row] = [([3, 0, 2], [-100, 0, 2]), ([1, 1], [-100, 1])]


def both(first: Any, second: Any, rows: list[Row] = ROWS) -> tuple[list[Told], list[Apart]]:
    with tempfile.TemporaryFile() as file:
        told = divergence.record(first, rows, file, "test")
        return told, divergence.compare(second, rows, told, file, "test")


def perplexity(net: Any, data: list[Row]) -> float:
    with tempfile.TemporaryFile() as file:
        told = divergence.record(net, data, file, "test")
    return divergence.perplexity(sum(one.loss for one in told), sum(one.labels for one in told))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ([([3, 0, 2], [-100, 0, 2])], 4.0),  # sqrt(2 * 8)
        ([([3, 0, 2], [-100, -100, 2])], 8.0),
        ([([3, 0], [-100, 0]), ([3, 2, 2, 2], [-100, 2, 2, 2])], 2 ** (10 / 4)),  # a token a vote
        ([([0, 0], [0, 0])], 2.0),  # nothing predicts the first token
        ([([0, 0], [-100, -100]), ([0, 0], [-100, 0])], 2.0),  # a row that teaches nothing
    ],
)
def test_perplexity_by_hand(data: list[Row], wanted: float) -> None:
    assert perplexity(HALVES, data) == pytest.approx(wanted)


def test_it_is_the_loss_of_transformers(tiny_model: Path) -> None:
    net = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    ids, labels = [5, 6, 7, 8, 9], [-100, -100, 7, -100, 9]
    with torch.inference_mode():
        loss = net(torch.tensor([ids]), labels=torch.tensor([labels])).loss.item()
    assert perplexity(net, [(ids, labels)]) == pytest.approx(math.exp(loss), rel=1e-5)


def test_a_hopeless_model_is_infinite_not_an_overflow() -> None:
    assert divergence.perplexity(1000.0, 1) == math.inf
    assert math.isnan(divergence.perplexity(math.nan, 1))


def test_kl_by_hand() -> None:
    told, apart = both(HALVES, Fixed(1 / 4, 1 / 2, 1 / 8, 1 / 8))
    each = 1 / 2 * math.log(2) - 1 / 4 * math.log(2)
    assert [one.kl for one in apart] == pytest.approx([2 * each, each], rel=1e-3)
    assert [one.places for one in apart] == [2, 1] and [one.same for one in apart] == [0, 0]
    assert [one.best for one in told] == [[0, 0], [0]]
    assert apart[1].loss == pytest.approx(math.log(2))


def test_a_model_beside_itself(tiny_model: Path) -> None:
    net = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    rows = [(list(range(40)), [-100] * 10 + list(range(10, 40)))]
    _, [apart] = both(net, net, rows)
    assert apart.same == apart.places == 30
    assert apart.kl / 30 < 1e-6  # what float16 rounds


def test_kl_is_torchs(tiny_model: Path) -> None:
    one = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    other = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    with torch.no_grad():
        other.get_output_embeddings().weight.mul_(1.5)
    ids = list(range(5, 45))
    _, [apart] = both(one, other, [(ids, ids)])
    with torch.inference_mode():
        p, q = (m(torch.tensor([ids])).logits[0, :-1].log_softmax(-1) for m in (one, other))
    wanted = torch.nn.functional.kl_div(q, p, reduction="sum", log_target=True).item()
    assert apart.kl == pytest.approx(wanted, rel=1e-3) and wanted > 0.01


def test_what_the_second_holds_impossible_is_infinitely_far() -> None:
    assert both(HALVES, Fixed(1, 0, 0, 0))[1][0].kl == math.inf
    _, [first, _] = both(Fixed(1, 0, 0, 0), HALVES)
    assert first.kl == pytest.approx(2 * math.log(2), abs=1e-4)


def test_nan_stays() -> None:
    _, [first, _] = both(HALVES, Fixed(math.nan, 1, 1, 1))
    assert math.isnan(first.kl) and math.isnan(first.loss)


def test_places_are_thinned_evenly() -> None:
    rows: list[Row] = [([1] * 11, [-100] + [1] * 10), ([1] * 6, [-100] + [1] * 5), ([1], [1])]
    assert divergence.places(rows) == [list(range(10)), list(range(5)), []]
    assert divergence.places(rows, 8) == [[0, 2, 4, 6, 8], [0, 2, 4], []]
    assert asking.labelled([5, -100, 7, 8]) == [1, 2]
