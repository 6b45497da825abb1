"""Which request gets which slot of the cache, and what can be used again where it lies.

A slot that is free again still has the keys and values of the request before. A prompt that begins
alike takes that slot, and nothing of the shared part is moved; others take the first one, so that
few slots are ever written to and those that answer stand side by side.
"""

from dataclasses import dataclass

from serve.engine.prefixes import Tokens, common

#: Fewer shared tokens than this do not choose a slot.
WORTH = 32


@dataclass
class Slot:
    """One place of the cache.

    Attributes:
        index: in the cache.
        adapter: whose keys and values it holds.
        tokens: those they belong to, while it is free.
        written: how many of its places hold memory.
        busy: whether a request has it.
        used: when it was last taken, counted in requests.
    """

    index: int
    adapter: str | None = None
    tokens: Tokens = ()
    written: int = 0
    busy: bool = False
    used: int = 0


class Slots:
    """All slots of a cache.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._slots = [Slot(index) for index in range(count)]
        self._taken = 0

    @property
    def written(self) -> int:
        """Places of all slots that hold memory."""
        return sum(slot.written for slot in self._slots)

    @property
    def idle(self) -> list[Slot]:
        """Free slots that hold memory, the one unused for longest first."""
        idle = [slot for slot in self._slots if not slot.busy and slot.written]
        return sorted(idle, key=lambda slot: slot.used)

    def take(self, prompt: Tokens, adapter: str | None, reuse: bool) -> tuple[Slot, int]:
        """Gives a request a slot; there is a free one.

        Args:
            prompt: its tokens.
            adapter: who answers it.
            reuse: whether shared tokens may be skipped (not if they are to be scored).

        Returns:
            The slot, and how many tokens of the prompt's head lie there.
        """
        free = [slot for slot in self._slots if not slot.busy]
        shared = {
            slot.index: common(slot.tokens, prompt) if slot.adapter == adapter and reuse else 0
            for slot in free
        }

        def order(slot: Slot) -> tuple[int, bool, int]:
            there = shared[slot.index]
            return there if there >= WORTH else 0, slot.written > 0, -slot.index

        slot = max(free, key=order)
        self._taken += 1
        slot.adapter, slot.tokens = adapter, ()
        slot.busy, slot.used = True, self._taken
        return slot, shared[slot.index]

    def release(self, slot: Slot, tokens: Tokens) -> None:
        """Takes a slot back; it holds these tokens."""
        slot.tokens, slot.busy = tokens, False

    def forget(self) -> None:
        """Empties every slot: what lies there can no longer be trusted."""
        for slot in self._slots:
            slot.tokens, slot.written, slot.busy = (), 0, False
