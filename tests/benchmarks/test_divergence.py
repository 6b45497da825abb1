"""KL and top-1 agreement of two models, from logits in files."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.divergence import compare, wanted, write_logits


def saved(path: Path, rows: list[list[float]]) -> Path:
    np.save(path, np.array(rows, dtype=np.float32))
    return path


def test_by_hand(tmp_path: Path) -> None:
    """p = (3/4, 1/4), q = (1/4, 3/4) at one of two places, equal at the other."""
    one = saved(tmp_path / "a.npy", [[math.log(3), 0], [5, 5.5]])
    two = saved(tmp_path / "b.npy", [[0, math.log(3)], [7, 7.5]])
    kl, top1 = compare(one, two)
    assert kl == pytest.approx((0.5 * math.log(3)) / 2) and top1 == 0.5
    assert compare(one, one) == (0, 1)


def test_other_places_are_refused(tmp_path: Path) -> None:
    one = saved(tmp_path / "a.npy", [[1, 2]])
    with pytest.raises(ValueError, match="1 and 2 places"):
        compare(one, saved(tmp_path / "b.npy", [[1, 2], [1, 2]]))


def test_places_are_those_before_what_is_learnt() -> None:
    rows = [([1, 2, 3, 4], [-100, -100, 3, 4]), ([1, 2], [-100, -100]), ([5, 6], [-100, 6])]
    assert list(wanted(rows)) == [([1, 2, 3, 4], [1, 2]), ([5, 6], [0])]
    assert list(wanted(rows, most=1)) == [([1, 2, 3, 4], [1])]


def test_logits_of_a_model(model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(model)
    assert write_logits(net, [([1, 2, 3], [-100, 2, 3])], tmp_path / "a.npy") == 2
    with torch.inference_mode():
        right = net(torch.tensor([[1, 2, 3]])).logits[0, :2]
    assert np.array_equal(np.load(tmp_path / "a.npy"), right.numpy())
