"""Where a request's keys and values lie, and which of them stay when it is over.

A request that runs has a slot to itself (:mod:`serve.engine.slots`). What it has computed is copied
into blocks that many requests share (:mod:`serve.engine.prefixes`), as soon as a piece of its
prompt is there; a later request's slot is filled from them. Copying a token costs about a hundredth
of computing it. Slots and blocks hold memory as they are filled; together they stay within a bound,
for which slots that are free are emptied first, then the blocks unused for longest.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from serve.engine import pages
from serve.engine.attention import SlotCache
from serve.engine.prefixes import BLOCK, Fill, Prefixes, Tokens
from serve.engine.slots import Slot, Slots

#: Free slots whose content may stay beside all that is kept in blocks: the next request that begins
#: like the last one has nothing to copy.
SPARE = 4


@dataclass(frozen=True)
class Bounds:
    """What the cache may hold, in tokens.

    Attributes:
        total: of the requests that run.
        kept: of those that are over.
        by_need: memory is taken as it is filled, and ``kept`` is what both may hold, but for a
            quarter of it that running requests cannot take, and never more than ``total``.
    """

    total: int
    kept: int
    by_need: bool

    def left(self, written: int) -> int:
        """How much may be kept while slots hold so many tokens."""
        if not self.by_need:
            return self.kept
        return max(0, min(max(self.kept - written, self.kept // 4), self.total - written))


@dataclass(frozen=True)
class Place:
    """Where a request goes.

    Attributes:
        slot: the slot, now busy.
        reused: tokens whose keys and values are there.
    """

    slot: Slot
    reused: int


class Keeping:
    """Slots and blocks of one model's cache.

    Args:
        cache: the slots' tensors.
        count: of its slots.
        bounds: of both.
        unit: 0, or tokens that are reused and kept together only, and no generated ones: each has
            been computed in a pass of one shape.
    """

    def __init__(self, cache: SlotCache, count: int, bounds: Bounds, unit: int = 0) -> None:
        self._cache, self._bounds, self._unit = cache, bounds, unit
        self._slots = Slots(count)
        blocks = bounds.kept // BLOCK
        self._prefixes = Prefixes(blocks)
        # Beside the slots' own: ``[blocks, heads, BLOCK, width]``.
        self._pairs = [
            (tensor, pages.zeros((blocks, tensor.shape[1], BLOCK, tensor.shape[3]), tensor))
            for tensor in (*cache.keys, *cache.values)
        ]

    @property
    def kept(self) -> int:
        """Tokens that blocks have room for and hold, nearly."""
        return len(self._prefixes) * BLOCK

    @property
    def most(self) -> int:
        """Tokens of one prompt that can be kept now."""
        return self._left * BLOCK

    def reach(self, prompt: Tokens, adapter: str | None) -> int:
        """Tokens of a prompt's head that are kept; the last one is always computed."""
        return self.whole(min(self._prefixes.match(prompt, adapter).length, len(prompt) - 1))

    def whole(self, count: int) -> int:
        """So many tokens, in whole units."""
        return count // self._unit * self._unit if self._unit else count

    def place(self, prompt: Tokens, adapter: str | None, reuse: bool) -> Place:
        """Gives a request a slot; there is a free one.

        Args:
            prompt: its tokens.
            adapter: who answers it.
            reuse: whether shared tokens may be skipped (not if they are to be scored).
        """
        slot, there = self._slots.take(prompt, adapter, reuse)
        there = self.whole(min(there, len(prompt) - 1))
        if not reuse:
            return Place(slot, 0)
        found = self._prefixes.match(prompt, adapter)
        reach = self.whole(min(found.length, len(prompt) - 1))
        if reach <= there:
            return Place(slot, there)
        first = there // BLOCK
        self._load(slot, found.blocks[first : -(-reach // BLOCK)], first * BLOCK)
        self.write([(slot, reach)])
        return Place(slot, reach)

    def write(self, stops: Iterable[tuple[Slot, int]]) -> None:
        """Slots are going to hold so many tokens: makes room where that is more than ever."""
        more = [(slot, stop) for slot, stop in stops if stop > slot.written]
        for slot, stop in more:
            slot.written = stop
        if more:
            self._shrink()

    def keep(self, slot: Slot, tokens: Tokens, prompt: int) -> None:
        """A slot holds these tokens, ``prompt`` of them at most a prompt's: all that can be stays.

        What is there already is not copied again.
        """
        kept = self._lasting(tokens, prompt)
        fills = self._prefixes.insert(kept, slot.adapter, self._left)
        if fills:
            self._store(slot, fills)

    def release(self, slot: Slot, tokens: Tokens, prompt: int) -> None:
        """Takes back a slot that holds these tokens."""
        self._slots.release(slot, self._lasting(tokens, prompt))
        self._shrink()

    def forget(self) -> None:
        """Empties all: what lies there can no longer be trusted."""
        self._slots.forget()
        self._prefixes.forget()
        for tensor, blocks in self._pairs:
            pages.give_back(tensor)
            pages.give_back(blocks)

    def _lasting(self, tokens: Tokens, prompt: int) -> Tokens:
        return tokens[: self.whole(min(len(tokens), prompt))] if self._unit else tokens

    @property
    def _left(self) -> int:
        """Blocks that may be in use now."""
        return self._bounds.left(self._slots.written) // BLOCK

    def _shrink(self) -> None:
        """Gives memory back where there is more in use than may be."""
        if not self._bounds.by_need:
            return
        idle = self._slots.idle
        while idle and self._slots.written + self.kept > self._bounds.kept:
            # Those that may stay go, too, where even the least that is kept has no room.
            if len(idle) <= SPARE and self._slots.written + self.kept <= self._bounds.total:
                break
            self._empty(idle.pop(0))
        self._free(self._prefixes.shrink(self._left))

    def _empty(self, slot: Slot) -> None:
        slot.written, slot.tokens = 0, ()
        for tensor, _ in self._pairs:
            pages.give_back(tensor[slot.index])

    def _free(self, blocks: list[int]) -> None:
        """Gives back the memory of blocks that hold nothing now; neighbours share pages."""
        for first, last in _runs(sorted(blocks)):
            for _, kept in self._pairs:
                pages.give_back(kept[first : last + 1])

    def _load(self, slot: Slot, blocks: list[int], start: int) -> None:
        """Fills a slot from blocks, from a place on; what the last one has too much is masked."""
        stop = start + len(blocks) * BLOCK
        index = torch.tensor(blocks, device=self._pairs[0][0].device)
        run = blocks == list(range(blocks[0], blocks[0] + len(blocks)))
        for tensor, kept in self._pairs:
            found = kept[blocks[0] : blocks[-1] + 1] if run else kept[index]
            target = tensor[slot.index, :, start:stop].unflatten(1, (len(blocks), BLOCK))
            target.copy_(found.transpose(0, 1))

    def _store(self, slot: Slot, fills: list[Fill]) -> None:
        """Fills blocks from a slot."""
        whole = [fill for fill in fills if fill.stop - fill.start == BLOCK]
        for fill in fills[len(whole) :]:  # the last one
            for tensor, kept in self._pairs:
                part = tensor[slot.index, :, fill.start : fill.stop]
                kept[fill.block, :, : fill.stop - fill.start] = part
        if not whole:
            return
        index = torch.tensor([fill.block for fill in whole], device=self._pairs[0][0].device)
        for tensor, kept in self._pairs:
            part = tensor[slot.index, :, whole[0].start : whole[-1].stop]
            kept[index] = part.unflatten(1, (len(whole), BLOCK)).transpose(0, 1)


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """First and last of neighbours, of numbers in order."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs
