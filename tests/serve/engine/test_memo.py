"""What is kept of the prompts that were asked last."""

import torch

from serve.engine.memo import Memo


def states(tokens: int) -> torch.Tensor:
    return torch.zeros(tokens, 2)  # 8 bytes a token


def test_the_one_unused_for_longest_goes() -> None:
    memo = Memo(most=64)
    for prompt in ((1,), (2,)):
        memo.put(prompt, states(4))
    assert memo.get((1,)) is not None
    memo.put((3,), states(1))
    assert memo.get((2,)) is None
    assert memo.get((1,)) is not None and memo.get((3,)) is not None


def test_what_is_larger_than_the_bound_is_not_kept() -> None:
    memo = Memo(most=64)
    memo.put((1,), states(9))
    assert memo.get((1,)) is None
    memo.put((2,), states(8))
    assert memo.get((2,)) is not None, "what could not be kept still takes room"


def test_put_again_it_counts_once() -> None:
    memo = Memo(most=64)
    for _ in range(5):
        memo.put((1,), states(4))
    memo.put((2,), states(4))
    assert memo.get((1,)) is not None and memo.get((2,)) is not None


def test_clear() -> None:
    memo = Memo(most=64)
    memo.put((1,), states(4))
    memo.clear()
    assert memo.get((1,)) is None
    memo.put((2,), states(8))
    assert memo.get((2,)) is not None
