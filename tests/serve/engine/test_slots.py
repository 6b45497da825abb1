"""Slots and what lies in them, without a model."""

from serve.engine.slots import WORTH, Slot, Slots

HEAD = tuple(range(100, 200))


def take(slots: Slots, prompt: tuple[int, ...], adapter: str | None = None) -> tuple[Slot, int]:
    return slots.take(prompt, adapter, reuse=True)


def fill(slots: Slots, prompt: tuple[int, ...], adapter: str | None = None) -> Slot:
    """A request that takes a slot and has written there all that it was asked."""
    slot, _ = take(slots, prompt, adapter)
    slot.written = max(slot.written, len(prompt))
    return slot


def test_a_prompt_goes_where_its_head_lies() -> None:
    slots = Slots(3)
    other, slot = fill(slots, (1, 2, 3)), fill(slots, (*HEAD, 1))
    slots.release(slot, (*HEAD, 1, 7))
    slots.release(other, (1, 2, 3))
    assert take(slots, (*HEAD, 2, 3)) == (slot, len(HEAD))
    assert take(slots, (9,)) == (other, 0)


def test_all_of_it_may_be_computed_again() -> None:
    slots = Slots(1)
    slots.release(fill(slots, HEAD), HEAD)
    assert slots.take(HEAD, None, reuse=False)[1] == 0


def test_few_slots_are_written_to_and_they_are_neighbours() -> None:
    slots = Slots(4)
    first, second = fill(slots, (1,)), fill(slots, (2,))
    assert (first.index, second.index) == (0, 1)
    slots.release(second, (2,))
    assert fill(slots, (3,)) is second, "it holds memory"
    slots.release(first, (1,))
    assert fill(slots, (4,)) is first
    assert (slots.written, fill(slots, (5,)).index) == (2, 2)


def test_a_few_shared_tokens_do_not_choose_the_slot() -> None:
    slots = Slots(3)
    busy, few = fill(slots, (0,)), fill(slots, HEAD[: WORTH - 1])
    slots.release(busy, (0,))
    slots.release(few, HEAD[: WORTH - 1])
    assert take(slots, HEAD) == (busy, 0)
    assert take(slots, HEAD) == (few, WORTH - 1)


def test_adapters_do_not_share() -> None:
    slots = Slots(1)
    slots.release(fill(slots, HEAD, "a"), HEAD)
    assert take(slots, (*HEAD, 1), "b")[1] == 0


def test_idle_ones_in_the_order_of_their_use() -> None:
    slots = Slots(3)
    taken = [fill(slots, (10 * i, 1)) for i in range(3)]
    for slot in (taken[2], taken[0]):
        slots.release(slot, (slot.index, 1))
    assert slots.idle == [taken[0], taken[2]]
    taken[0].written = 0
    assert slots.idle == [taken[2]]


def test_forget() -> None:
    slots = Slots(2)
    fill(slots, HEAD)
    slots.forget()
    assert slots.written == 0
    assert take(slots, HEAD)[1] == 0
