"""Which prompts are fed in the next step, and how much of each."""

import math
from collections.abc import Iterator, Sequence

#: Least shares of the budget that prompts get beside answers: those that can be fed whole, and a
#: piece of one that cannot.
LEAST_SHARES = (1 / 2, 1 / 8)

#: Steps in a row in which the oldest prompt lets shorter ones pass.
MOST_OVERTAKEN = 3


class Turns:
    """Shares a step's budget of prompt tokens.

    Every answer waits for the whole step, so prompts get the less of it the fewer they are beside
    answers. Short ones then go first, whole; of a long one comes a small piece. A question of one
    token is answered within about two short steps whatever else goes on, while a queue of long
    prompts still gets whole steps. Where nobody waits for a next token, it is first come, first
    served.

    Args:
        budget: most prompt tokens of a step.
        fixed: one prompt a step, in pieces of ``budget``.
    """

    def __init__(self, budget: int, fixed: bool) -> None:
        self._budget, self._fixed = budget, fixed
        self._overtaken = 0

    def next(self, pending: Sequence[int], answers: int) -> Iterator[tuple[int, int]]:
        """(place of a prompt, tokens to feed of it), as often as there is room.

        Args:
            pending: tokens still to be fed of each prompt, the oldest first.
            answers: how many answers get a token in the same step.
        """
        if not pending:
            return
        if self._fixed:
            yield 0, min(pending[0], self._budget)
            return
        share = len(pending) / (len(pending) + answers)
        room, piece = (math.ceil(self._budget * max(share, least)) for least in LEAST_SHARES)
        order = self._order(pending, room) if answers else list(range(len(pending)))
        for place in order:
            count = pending[place]
            if count > room:
                count = min(piece, room) if place == order[0] or not answers else 0
            if count:
                yield place, count
                room -= count

    def _order(self, pending: Sequence[int], room: int) -> list[int]:
        """The shortest first if it can be fed whole, but not before the oldest for ever."""
        order = sorted(range(len(pending)), key=lambda place: pending[place])
        if self._overtaken == MOST_OVERTAKEN or pending[order[0]] > room:
            order.remove(0)
            order.insert(0, 0)
        self._overtaken = self._overtaken + 1 if order[0] else 0
        return order
