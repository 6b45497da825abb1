"""Stop sequences in a text that arrives in pieces."""

from collections.abc import Sequence


class StopMatcher:
    """Finds the first stop sequence in a text that arrives in pieces.

    Args:
        stops: non-empty strings.

    Attributes:
        length: of the text so far, characters.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._keep = max((len(stop) for stop in stops), default=1) - 1
        self._tail = ""
        self.length = 0

    def push(self, piece: str) -> int | None:
        """Takes the next piece.

        Returns:
            Where, in characters from the start of the text, the earliest stop starts; None so far.
        """
        window, old = self._tail + piece, len(self._tail)
        start = self.length - old
        self.length += len(piece)
        self._tail = window[max(0, len(window) - self._keep) :]
        # Only those that end in this piece: who ignored an earlier one does not meet it again.
        places = (window.find(stop, max(0, old + 1 - len(stop))) for stop in self._stops)
        found = [place for place in places if place >= 0]
        return start + min(found) if found else None

    def settled(self) -> int:
        """How many characters no stop can take back: behind them a whole one may yet come."""
        tail = self._tail
        held = (
            len(tail) - place
            for place in range(len(tail))
            if any(stop.startswith(tail[place:]) for stop in self._stops)
        )
        return self.length - next(held, 0)
