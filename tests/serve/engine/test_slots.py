"""Slots and the prefixes in them, without a model."""

import numpy
import pytest

from serve.engine.slots import WORTH, Place, Slots, common

HEAD = list(range(100, 200))


def take(slots: Slots, prompt: list[int], adapter: str | None = None, reuse: bool = True) -> Place:
    place = slots.take(prompt, adapter, reuse)
    assert place is not None
    return place


def finish(slots: Slots, place: Place, tokens: list[int]) -> None:
    slots.release(place.slot, tokens, len(tokens))


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [([], [1], 0), ([1, 2], [1, 2], 2), ([1, 2, 3], [1, 2, 4, 5], 2), ([1], [2], 0)],
)
def test_common(one: list[int], other: list[int], shared: int) -> None:
    assert common(numpy.array(one, numpy.int64), numpy.array(other, numpy.int64)) == shared


def test_a_free_slot_is_taken_where_the_prefix_lies() -> None:
    slots = Slots(3)
    other = take(slots, [1, 2, 3])
    place = take(slots, [*HEAD, 1])
    finish(slots, place, [*HEAD, 1, 7])
    finish(slots, other, [1, 2, 3])
    again = take(slots, [*HEAD, 2, 3])
    assert (again.slot.index, again.reused, again.source) == (place.slot.index, len(HEAD), None)


def test_the_last_token_is_always_computed() -> None:
    slots = Slots(1)
    finish(slots, take(slots, HEAD), HEAD)
    assert take(slots, HEAD).reused == len(HEAD) - 1


def test_a_busy_prefix_is_copied() -> None:
    slots = Slots(2)
    busy = take(slots, [*HEAD, 1])
    busy.slot.ready = len(HEAD) + 1
    place = take(slots, [*HEAD, 2])
    assert (place.source, place.reused) == (busy.slot, len(HEAD))
    assert place.slot is not busy.slot


def test_a_prefix_that_is_being_computed_is_waited_for() -> None:
    slots = Slots(4)
    busy = take(slots, [*HEAD, 1])
    assert slots.take([*HEAD, 2], None, reuse=True) is None
    assert slots.take([*HEAD[: WORTH - 1], 5], None, reuse=True) is not None, "not worth it"
    assert slots.take([*HEAD, 2], None, reuse=False) is not None, "all of it is to be scored"
    busy.slot.ready = len(HEAD)
    assert take(slots, [*HEAD, 2]).reused == len(HEAD)


def test_an_abandoned_prefix_is_not_waited_for() -> None:
    slots = Slots(2)
    busy = take(slots, [*HEAD, 1])
    busy.slot.ready = 40
    slots.release(busy.slot, [*HEAD, 1], 40)
    assert take(slots, [*HEAD, 2]).reused == 40


def test_adapters_do_not_share() -> None:
    slots = Slots(2)
    finish(slots, take(slots, HEAD, adapter="a"), HEAD)
    assert take(slots, [*HEAD, 1], adapter="b").reused == 0
    assert Slots(1).take(HEAD, "a", reuse=True) is not None


def test_the_slot_unused_for_longest_is_overwritten() -> None:
    slots = Slots(3)
    places = [take(slots, [10 * i, 1, 2]) for i in range(3)]
    for place in (places[2], places[0], places[1]):
        finish(slots, place, [place.slot.index, 1, 2])
    assert take(slots, [77, 1]).slot is places[0].slot


def test_full_means_wait() -> None:
    slots = Slots(1)
    place = take(slots, [1])
    assert slots.take([2], None, reuse=True) is None
    finish(slots, place, [1])
    assert slots.take([2], None, reuse=True) is not None


def test_whole_units_only() -> None:
    slots = Slots(1, unit=16)
    finish(slots, take(slots, HEAD), HEAD)
    assert take(slots, [*HEAD[:50], 1]).reused == 48


def test_forget() -> None:
    slots = Slots(2)
    take(slots, HEAD)
    slots.forget()
    assert take(slots, HEAD).reused == 0
