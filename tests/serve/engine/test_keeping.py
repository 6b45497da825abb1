"""What stays in the cache of requests that are over, and within which bound."""

import random

import pytest
import torch

from serve.engine.attention import SlotCache
from serve.engine.keeping import SPARE, Bounds, Keeping
from serve.engine.prefixes import BLOCK, Tokens

COUNT, CONTEXT = 12, 128
HEAD = tuple(range(100, 180))


def cache() -> SlotCache:
    return SlotCache([(2, 3, 5)] * 2, COUNT, CONTEXT + 1, torch.empty(0))


def keeping(kept: int = 20 * BLOCK, unit: int = 0, by_need: bool = True) -> Keeping:
    return Keeping(cache(), COUNT, Bounds(COUNT * CONTEXT, kept, by_need), unit)


def states(tokens: Tokens) -> torch.Tensor:
    """What stands for keys and values: of each token a number that tells all tokens before it."""
    total, numbers = 0, []
    for token in tokens:
        total = (31 * total + token) % 9973
        numbers.append(total)
    return torch.tensor(numbers, dtype=torch.float32)


def write(keeping: Keeping, index: int, tokens: Tokens, start: int) -> None:
    """A pass over the tokens from a place on."""
    new = states(tokens)[start:, None]
    for layer, tensor in enumerate((*keeping._cache.keys, *keeping._cache.values), 1):
        tensor[index, :, start : len(tokens)] = layer * new


def assert_there(keeping: Keeping, index: int, tokens: Tokens) -> None:
    for layer, tensor in enumerate((*keeping._cache.keys, *keeping._cache.values), 1):
        wanted = layer * states(tokens)[:, None].expand(-1, tensor.shape[3])
        for head in tensor[index, :, : len(tokens)]:
            assert torch.equal(head, wanted)


def ask(keeping: Keeping, prompt: Tokens, answer: Tokens = (), adapter: str | None = None) -> int:
    """A request from its place to its end; how many tokens it has reused."""
    place = keeping.place(prompt, adapter, reuse=True)
    index, tokens = place.slot.index, prompt + answer
    assert_there(keeping, index, prompt[: place.reused])
    keeping.write([(place.slot, len(tokens))])
    write(keeping, index, tokens, place.reused)
    keeping.keep(place.slot, tokens, len(prompt))
    keeping.release(place.slot, tokens, len(prompt))
    return place.reused


def test_a_head_is_copied_to_a_slot_where_it_is_not() -> None:
    kept = keeping()
    assert ask(kept, (*HEAD, 1)) == 0
    busy = kept.place((*HEAD, 2), None, reuse=True)  # in place
    other = kept.place((*HEAD, 3), None, reuse=True)
    assert busy.slot is not other.slot
    assert busy.reused == other.reused == len(HEAD)
    assert_there(kept, other.slot.index, HEAD)


def test_the_last_token_is_always_computed() -> None:
    kept = keeping()
    ask(kept, HEAD)
    assert kept.reach(HEAD, None) == len(HEAD) - 1
    assert ask(kept, HEAD) == len(HEAD) - 1
    assert keeping().reach((5,), None) == 0


def test_an_answer_stays_for_the_next_turn_of_a_chat() -> None:
    kept = keeping()
    ask(kept, HEAD, (1, 2, 3))
    assert ask(kept, (*HEAD, 1, 2, 3, 4)) == len(HEAD) + 3


def test_adapters_do_not_share() -> None:
    kept = keeping()
    ask(kept, HEAD, adapter="a")
    assert kept.reach(HEAD, None) == 0
    assert ask(kept, HEAD, adapter="b") == 0


def test_what_is_to_be_scored_is_computed() -> None:
    kept = keeping()
    ask(kept, HEAD)
    assert kept.place(HEAD, None, reuse=False).reused == 0


@pytest.mark.parametrize(("length", "answer", "reused"), [(80, 20, 72), (71, 20, 48), (80, 0, 72)])
def test_whole_units_and_nothing_generated(length: int, answer: int, reused: int) -> None:
    kept = keeping(unit=24)
    tokens = tuple(range(300, 300 + length + answer))
    ask(kept, tokens[:length], tokens[length:])
    assert ask(kept, (*tokens, 1, 2)) == reused
    kept.place((7, 8), None, reuse=True)
    there = (len(tokens) + 1) // 24 * 24  # that one's prompt was longer
    assert kept.place((*tokens, 1, 2), None, reuse=True).reused == there, "copied"


@pytest.mark.parametrize("by_need", [True, False])
def test_many_requests(by_need: bool) -> None:
    """Heads, prompts and answers come and go: what is reused is right and the bound holds."""
    numbers = random.Random(0)
    kept = keeping(by_need=by_need)
    heads = [tuple(numbers.randrange(9) for _ in range(60)) for _ in range(6)]
    reused = 0
    for _ in range(300):
        head = numbers.choice(heads)[: numbers.randint(0, 60)]
        prompt = (*head, *(numbers.randrange(9) for _ in range(numbers.randint(1, 30))))
        reused += ask(kept, prompt, tuple(range(numbers.randint(0, 20))))
        limit = kept._bounds.kept
        assert kept.kept <= limit
        if by_need:
            assert kept.kept + kept._slots.written <= max(limit, limit // 4 + kept._slots.written)
    assert reused > 1000


def test_running_requests_push_out_what_is_kept_but_for_a_quarter() -> None:
    kept = keeping(kept=16 * BLOCK)
    for first in range(0, 300, 100):
        ask(kept, tuple(range(first, first + 64)))
    assert kept.kept > 4 * BLOCK
    places = [kept.place((i,), None, reuse=True) for i in (901, 902, 903)]
    kept.write((place.slot, CONTEXT) for place in places)
    assert kept.kept == 4 * BLOCK
    assert kept.reach((*range(200, 264), 1), None) == 64, "the last one used has stayed"


def test_free_slots_are_emptied_where_memory_is_wanted() -> None:
    kept = keeping(kept=8 * BLOCK)
    places = [kept.place((i, 1), None, reuse=True) for i in range(COUNT)]
    kept.write((place.slot, 64) for place in places)
    for place in places:
        write(kept, place.slot.index, (*range(64),), 0)
        kept.release(place.slot, (*range(64),), 64)
    assert len(kept._slots.idle) == SPARE
    for place in places:
        assert bool(kept._cache.keys[0][place.slot.index].any()) == (place.slot.written > 0)


def test_a_bound_that_is_all_there_is_is_never_passed() -> None:
    bounds = Bounds(total=100, kept=100, by_need=True)
    assert [bounds.left(written) for written in (0, 30, 90, 100)] == [100, 70, 10, 0]
    assert Bounds(100, 40, by_need=True).left(90) == 10
    assert Bounds(100, 40, by_need=False).left(100) == 40


def test_forget() -> None:
    kept = keeping()
    ask(kept, HEAD)
    kept.forget()
    assert kept.kept == 0 and ask(kept, HEAD) == 0
    kept.forget()
    assert not any(tensor.any() or blocks.any() for tensor, blocks in kept._pairs)


def test_without_room_nothing_is_kept() -> None:
    kept = keeping(kept=BLOCK - 1)
    assert ask(kept, HEAD) == 0
    assert kept.kept == kept.most == 0
