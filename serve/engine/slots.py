"""Which request gets which slot of the cache, and what can be reused of what lies there.

A slot that is free again keeps its keys and values. Few-shot prompts repeat hundreds of tokens, so
a new request takes the slot that already holds the most of its prompt, or copies the shared head
from one that is busy. Nothing else is needed to cache prefixes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy
from numpy.typing import NDArray

#: Fewer shared tokens than this are computed again rather than copied or waited for.
WORTH = 32

Tokens = NDArray[numpy.int64]


def common(one: Tokens, other: Tokens) -> int:
    """How many tokens two sequences share at their heads."""
    length = min(len(one), len(other))
    differ = numpy.flatnonzero(one[:length] != other[:length])
    return int(differ[0]) if len(differ) else length


@dataclass
class Slot:
    """One place of the cache.

    Attributes:
        index: in the cache.
        adapter: whose keys and values it holds.
        tokens: those they belong to; for a busy slot its whole prompt, also what is not yet there.
        ready: how many of ``tokens`` are there.
        busy: whether a request has it.
        used: when it was last taken, counted in requests.
    """

    index: int
    adapter: str | None = None
    tokens: Tokens = field(default_factory=lambda: numpy.empty(0, numpy.int64))
    ready: int = 0
    busy: bool = False
    used: int = 0


@dataclass(frozen=True)
class Place:
    """Where a request goes.

    Attributes:
        slot: the slot, now busy.
        reused: tokens whose keys and values are there or are to be copied.
        source: slot to copy them from; None where they are in place.
    """

    slot: Slot
    reused: int
    source: Slot | None


class Slots:
    """All slots of a cache.

    Args:
        count: how many.
        unit: reuse whole multiples of so many tokens only.
    """

    def __init__(self, count: int, unit: int = 1) -> None:
        self._slots = [Slot(index) for index in range(count)]
        self._unit = unit
        self._taken = 0

    def take(self, prompt: Sequence[int], adapter: str | None, reuse: bool) -> Place | None:
        """Gives a request a slot.

        Args:
            prompt: its tokens.
            adapter: who answers it.
            reuse: whether shared tokens may be skipped (not if they are to be scored).

        Returns:
            None while every slot is busy, or while another request is just computing what this one
            shares with it.
        """
        free = [slot for slot in self._slots if not slot.busy]
        if not free:
            return None
        tokens = numpy.array(prompt, numpy.int64)
        shared = self._shared(tokens, adapter) if reuse else {}
        ready = {index: min(n, self._slots[index].ready) for index, n in shared.items()}
        # Of equals a free one: nothing has to be copied from it.
        best = max(ready, key=lambda i: (ready[i], not self._slots[i].busy), default=0)
        if max(shared.values(), default=0) - ready.get(best, 0) >= WORTH:
            return None
        return self._place(tokens, adapter, free, ready, best)

    def release(self, slot: Slot, tokens: Iterable[int], ready: int) -> None:
        """Takes a slot back; it holds the first ``ready`` of ``tokens``."""
        slot.tokens = numpy.array(list(tokens)[:ready], numpy.int64)
        slot.ready, slot.busy = ready, False

    def forget(self) -> None:
        """Empties every slot: what lies there can no longer be trusted."""
        for slot in self._slots:
            slot.tokens, slot.ready, slot.busy = slot.tokens[:0], 0, False

    def _shared(self, tokens: Tokens, adapter: str | None) -> dict[int, int]:
        """Usable shared tokens by slot; the last token is always computed, for its logits."""
        return {
            slot.index: min(common(tokens, slot.tokens), len(tokens) - 1) // self._unit * self._unit
            for slot in self._slots
            if slot.adapter == adapter
        }

    def _place(
        self,
        tokens: Tokens,
        adapter: str | None,
        free: list[Slot],
        ready: dict[int, int],
        best: int,
    ) -> Place:
        """The free slot that holds the most; else the one unused for longest, and a copy."""
        here = max(free, key=lambda slot: (ready.get(slot.index, 0), -slot.used))
        reused, source = ready.get(here.index, 0), None
        if ready.get(best, 0) - reused >= WORTH:
            here = min(free, key=lambda slot: slot.used)
            reused, source = ready[best], self._slots[best]
        self._taken += 1
        here.adapter, here.tokens, here.ready = adapter, tokens, reused
        here.busy, here.used = True, self._taken
        return Place(here, reused, source)
