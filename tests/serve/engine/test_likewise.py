"""Sequences of different lengths, side by side."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from serve.engine.likewise import alike, padded, stack

CPU = torch.device("cpu")


@given(st.lists(st.integers(1, 600), max_size=40), st.integers(64, 2000))
def test_each_is_in_one_group_and_none_is_too_large(lengths: list[int], most: int) -> None:
    groups = alike(lengths, most)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(padded(lengths[index]) for index in group)
        assert len(group) == 1 or len(group) * longest <= most


def test_the_long_ones_pad_no_short_ones() -> None:
    assert alike([400, 8, 401, 9]) == [[1, 3], [0, 2]]
    assert alike([400, 8, 401, 9], most=810) == [[1, 3], [0], [2]]
    assert alike([40, 8, 41, 9]) == [[1, 3, 0, 2]], "another pass costs more than that"


def test_padding() -> None:
    ids, mask = stack([(5, 6, 7), (8,)], padding=3, most=100, device=CPU)
    assert ids.tolist() == [[5, 6, 7, *[3] * 5], [8, *[3] * 7]]
    assert mask.tolist() == [[1, 1, 1, *[0] * 5], [1, *[0] * 7]]


def test_no_more_positions_than_there_are() -> None:
    ids, _ = stack([(5,) * 9], padding=0, most=10, device=CPU)
    assert ids.shape == (1, 10)
