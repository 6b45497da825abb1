"""A ranked pool: who stands where, and with what."""

from dataclasses import dataclass

from tools.score.pool import Entry
from tools.score.ranking import FINAL, STAGES


@dataclass(frozen=True)
class Ranked:
    """An entry and its place.

    Attributes:
        entry: what it is.
        rates: by scenario of the two stages, the win rate; None where it took no part.
        score: ``open``, ``hidden`` and ``full``; None without data.
        rank: its place in each, 1 for the best; None without a score.
        others: win rates of scenarios that are part of neither stage.
        interval: by score, the lowest and highest of the middle 95 % over resampled instances;
            empty without instances.
    """

    entry: Entry
    rates: dict[str, float | None]
    score: dict[str, float | None]
    rank: dict[str, int | None]
    others: dict[str, float]
    interval: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Ranking:
    """A ranked pool.

    Attributes:
        rows: its entries, in the pool's order.
        notes: what a reader should know of the figures.
    """

    rows: list[Ranked]
    notes: list[str]

    @property
    def best_first(self) -> list[Ranked]:
        """The rows by final; who has none follows, by the stage that is there."""

        def key(row: Ranked) -> tuple[float, ...]:
            known = [row.score[one] for one in (FINAL, *STAGES)]
            # No score is negative, so who has none comes behind a score of 0.
            return tuple(-1.0 if value is None else value for value in known)

        return sorted(self.rows, key=key, reverse=True)
