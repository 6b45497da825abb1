"""Attention over slots against the plain formula."""

import math
import random

import pytest
import torch

from serve.engine.attention import CALL_COST, Batch, Piece, SlotCache

HEADS, KEY_HEADS, WIDTH, LENGTH, SLOTS = 6, 2, 8, 40, 7
CPU = torch.device("cpu")


def plain(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, window: int | None
) -> torch.Tensor:
    """One token ``[heads, width]`` over all keys up to its own, ``[key heads, n, width]``."""
    if window:
        keys, values = keys[:, -window:], values[:, -window:]
    keys = keys.repeat_interleave(HEADS // KEY_HEADS, 0)
    values = values.repeat_interleave(HEADS // KEY_HEADS, 0)
    weights = torch.einsum("hw,hnw->hn", query, keys) / math.sqrt(WIDTH)
    return torch.einsum("hn,hnw->hw", weights.softmax(-1), values)


@pytest.mark.parametrize("window", [None, 3, 100])
@pytest.mark.parametrize("fixed", [0, LENGTH])
def test_ragged_pieces(window: int | None, fixed: int) -> None:
    """Random steps over random slots: gaps, lone tokens, first and later pieces, padding."""
    torch.manual_seed(0)
    numbers = random.Random(0)
    cache = SlotCache([(KEY_HEADS, WIDTH, WIDTH)], SLOTS, LENGTH + 1, torch.empty(0))
    lengths = [0] * SLOTS
    keys = torch.randn(SLOTS, KEY_HEADS, LENGTH, WIDTH)
    values = torch.randn(SLOTS, KEY_HEADS, LENGTH, WIDTH)
    for _ in range(8):
        pieces = []
        for slot in sorted(numbers.sample(range(SLOTS), numbers.randint(1, SLOTS))):
            size = min(numbers.choice([1, 1, 1, 4, 9]), LENGTH - lengths[slot])
            if size:
                padding = 2 if fixed and size > 1 else 0
                pieces.append(Piece(slot, lengths[slot], lengths[slot] + size, padding))
                lengths[slot] += size
        pieces.sort(key=lambda piece: (piece.size > 1, piece.slot))
        total = sum(piece.size for piece in pieces)
        query = torch.randn(1, HEADS, total, WIDTH)
        new_keys, new_values = torch.randn(2, 1, KEY_HEADS, total, WIDTH)
        start = 0
        for piece in pieces:
            live = piece.stop - piece.start
            new_keys[0, :, start : start + live] = keys[piece.slot, :, piece.start : piece.stop]
            new_values[0, :, start : start + live] = values[piece.slot, :, piece.start : piece.stop]
            start += piece.size
        cache.batch = Batch(pieces, CPU, fixed)
        got = cache.attend(0, query, (new_keys, new_values), scale=None, window=window)[0]
        start = 0
        for piece in pieces:
            for row, place in enumerate(range(piece.start, piece.stop), start):
                seen = slice(0, place + 1)
                expected = plain(
                    query[0, :, row], keys[piece.slot, :, seen], values[piece.slot, :, seen], window
                )
                assert torch.allclose(got[row], expected, atol=1e-5)
            start += piece.size


def spans(lengths: dict[int, int]) -> list[tuple[int, int]]:
    pieces = [Piece(slot, length - 1, length) for slot, length in lengths.items()]
    return [(group.first, group.last) for group in Batch(pieces, CPU).groups]


def test_similar_neighbours_share_a_call() -> None:
    assert spans({0: 100, 1: 120, 2: 90}) == [(0, 3)]
    assert spans({0: 100, 3: 100}) == [(0, 4)], "a small gap is cheaper than a call"
    long = 10 * CALL_COST
    assert spans({0: 10, 1: 10, 2: 10, 3: long}) == [(0, 3), (3, 4)]
    assert spans({0: long, 6: long}) == [(0, 1), (6, 7)]


def test_masks_only_where_they_are_needed() -> None:
    batch = Batch([Piece(0, 9, 10), Piece(1, 9, 10), Piece(2, 0, 5), Piece(3, 5, 10)], CPU)
    (group,) = batch.groups
    first, later = batch.chunks
    assert batch.group_mask(group, 3, None, torch.float32) is None
    assert batch.group_mask(group, 3, 4, torch.float32).shape == (2, 1, 1, 10)
    assert batch.chunk_mask(first, 3, None, torch.float32) is None
    assert batch.chunk_mask(later, 3, None, torch.float32).shape == (15, 10)


def test_a_mask_lets_nan_through() -> None:
    """Why damaged slots are cleared; when torch hides what is masked, nothing needs to be."""
    query, key, value = torch.ones(3, 1, 1, 2, 4)
    key[..., 1, :] = value[..., 1, :] = torch.nan
    output = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert output[0, 0, 0].isnan().all()


def test_damaged_slots_are_told_and_cleared() -> None:
    cache = SlotCache([(1, 2, 2)] * 2, slots=3, length=5, like=torch.empty(0))
    new = torch.ones(1, 1, 6, 2)
    new[0, 0, 3], new[0, 0, 5] = torch.nan, torch.inf
    for pieces, expected in (
        ([Piece(0, 0, 2), Piece(1, 0, 2), Piece(2, 2, 4)], {1, 2}),
        ([Piece(0, 0, 3), Piece(2, 0, 2, padding=1)], set()),  # only padding is infinite
    ):
        cache.batch = Batch(pieces, CPU)
        if not expected:
            new[0, 0, 3] = 1
        for layer in range(2):
            cache.attend(layer, new, (new, new), scale=None, window=None)
        assert cache.damaged() == expected
    cache.clear(1, 0, 2)
    assert not cache.keys[1][1].any() and cache.keys[1][0, :, :2].all()
