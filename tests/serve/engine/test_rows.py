"""Rows of a decoder's caches: which columns they see, while others come and go."""

from types import SimpleNamespace
from typing import Any

import torch

from serve.engine.rows import Rows

HEADS, WIDTH = 2, 3
LIKE = torch.empty(0)


def states(rows: list[float], columns: int) -> torch.Tensor:
    """``[rows, heads, columns, width]``: everything of a row is its number."""
    return torch.tensor(rows)[:, None, None, None].expand(-1, HEADS, columns, WIDTH).clone()


def joined(rows: Rows, names: str, numbers: list[float], reads: list[int]) -> None:
    """Rows of these names join; what they have said and read is their number."""

    def layers(columns: int) -> Any:
        pair = SimpleNamespace(keys=states(numbers, columns), values=states(numbers, columns))
        return SimpleNamespace(layers=[pair])

    cache = SimpleNamespace(
        self_attention_cache=layers(1), cross_attention_cache=layers(max(reads))
    )
    rows.join(list(names), reads, cache)


def step(rows: Rows, numbers: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """One pass: each row says its number once more; returns what every row sees of both."""
    cache = rows.cache()
    said, read = rows.masks(LIKE)
    keys, values = cache.self_attention_cache.update(states(numbers, 1), states(numbers, 1), 0)
    assert torch.equal(keys.nan_to_num(7), values.nan_to_num(7))
    rows.stepped()
    crossed = cache.cross_attention_cache.layers[0].keys
    return _seen(keys, said), _seen(crossed, read)


def _seen(keys: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``[rows, columns]``: the numbers, NaN where a row sees nothing."""
    return keys[:, 0, :, 0].masked_fill(mask[:, 0, 0] < 0, float("nan"))


def numbers_seen(seen: torch.Tensor) -> list[list[float]]:
    return [[value for value in row.tolist() if value == value] for row in seen]


def test_each_row_sees_its_own_and_no_other_s() -> None:
    rows = Rows(layers=1, most=4)
    joined(rows, "ab", [1.0, 2.0], [3, 5])
    step(rows, [1.0, 2.0])
    joined(rows, "c", [3.0], [4])
    assert rows.lengths == [2, 2, 1]
    said, read = step(rows, [1.0, 2.0, 3.0])
    assert numbers_seen(said) == [[1.0] * 3, [2.0] * 3, [3.0] * 2]
    assert numbers_seen(read) == [[1.0] * 3, [2.0] * 5, [3.0] * 4]


def test_a_row_that_leaves_is_replaced_by_the_last() -> None:
    rows = Rows(layers=1, most=4)
    joined(rows, "abc", [1.0, 2.0, 3.0], [3, 5, 4])
    rows.keep({"b", "c"})
    assert rows.keys == ["c", "b"]
    said, read = step(rows, [3.0, 2.0])
    assert numbers_seen(said) == [[3.0] * 2, [2.0] * 2]
    assert numbers_seen(read) == [[3.0] * 4, [2.0] * 5]


def test_columns_run_out_and_those_of_nobody_go() -> None:
    """A row that stays 200 steps while others come and go."""
    rows = Rows(layers=1, most=3)
    joined(rows, "a", [1.0], [3])
    for length in range(1, 200):
        if length % 10 == 0:
            rows.keep({"a"})
            joined(rows, "b", [2.0], [70])
        numbers = [1.0, 2.0][: len(rows)]
        said, read = step(rows, numbers)
        assert numbers_seen(said)[0] == [1.0] * (length + 1)
        assert numbers_seen(read)[0] == [1.0] * 3
        if len(rows) > 1:
            assert numbers_seen(said)[1] == [2.0] * (1 + length % 10 + 1)
    rows.keep({"b"})
    for _ in range(300):  # the columns of "a" are given up where room is made the next time
        step(rows, [2.0])
    assert rows.end < 400


def test_what_is_no_number_leaves_nothing() -> None:
    """A damaged row's place is taken by a shorter one: nothing of the former is in what it reads,
    though behind a mask (NaN is not masked by adding)."""
    rows = Rows(layers=1, most=2)
    joined(rows, "ab", [1.0, float("nan")], [3, 30])
    step(rows, [1.0, float("nan")])
    rows.keep({"a"})
    joined(rows, "c", [3.0], [2])
    cache = rows.cache()
    keys, _ = cache.self_attention_cache.update(states([1.0, 3.0], 1), states([1.0, 3.0], 1), 0)
    assert bool(keys.isfinite().all())
    assert bool(cache.cross_attention_cache.layers[0].keys.isfinite().all())


def test_all_leave_and_others_come() -> None:
    rows = Rows(layers=1, most=2)
    joined(rows, "a", [1.0], [3])
    step(rows, [1.0])
    rows.keep(set())
    assert len(rows) == 0
    joined(rows, "b", [2.0], [1])
    said, read = step(rows, [2.0])
    assert numbers_seen(said) == [[2.0] * 2] and numbers_seen(read) == [[2.0]]
