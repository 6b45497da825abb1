"""Perplexity: the plain formula, over the tokens that are learnt, and no other."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tools.stages.perplexity import perplexity
from transformers import AutoModelForCausalLM


class Fixed:
    """A model of four words that always gives the same probabilities."""

    device = torch.device("cpu")
    probabilities = (1 / 2, 1 / 4, 1 / 8, 1 / 8)

    def __call__(self, ids: torch.Tensor) -> Any:
        logits = torch.tensor(self.probabilities).log()
        return SimpleNamespace(logits=logits.expand(*ids.shape, -1))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ([([3, 0, 2], [-100, 0, 2])], 4.0),  # sqrt(2 * 8)
        ([([3, 0, 2], [-100, -100, 2])], 8.0),
        ([([3, 0], [-100, 0]), ([3, 2, 2, 2], [-100, 2, 2, 2])], 2 ** (10 / 4)),  # a token a vote
        ([([0, 0], [0, 0])], 2.0),  # nothing predicts the first token
    ],
)
def test_by_hand(data: list[tuple[list[int], list[int]]], wanted: float) -> None:
    assert perplexity(Fixed(), data, "test") == pytest.approx(wanted)


def test_it_is_the_loss_of_transformers(tiny_model: Path) -> None:
    net = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    ids, labels = [5, 6, 7, 8, 9], [-100, -100, 7, -100, 9]
    with torch.inference_mode():
        loss = net(torch.tensor([ids]), labels=torch.tensor([labels])).loss.item()
    assert perplexity(net, [(ids, labels)], "test") == pytest.approx(math.exp(loss), rel=1e-5)


def test_a_hopeless_model_is_infinite_not_an_overflow() -> None:
    class Hopeless:
        device = "cpu"

        def __call__(self, ids: torch.Tensor) -> Any:
            return SimpleNamespace(logits=torch.tensor([[[1000.0, 0.0]]]).expand(1, 2, 2))

    assert perplexity(Hopeless(), [([0, 1], [-100, 1])], "x") == math.inf
