"""The ranking part: this run among a pool, by the challenge's own arithmetic."""

from typing import Any

from tools import score
from tools.report.gathered.source import Missing, Part, Source
from tools.score.ranked import Ranked, Ranking
from tools.score.ranking import FINAL, STAGES


def standing(source: Source) -> Part:
    """Scores and win rates of all entries, and where this run's own would gain most.

    Without a pool the other runs beside this one's folder are it. A run that was asked none of the
    board's scenarios has no score; it is compared on what it shares with others.

    Raises:
        Missing: nothing was evaluated yet, or nothing that the challenge scores and by one alone.
        UserError: a file of the pool cannot be read.
    """
    source.evaluated()
    run = source.run.path
    paths = [*source.pool, run] if source.pool else []
    found = score.score(score.collect(paths, run.parent))
    folders = [source.answers(who).resolve() for who in ("tuned", "base")]
    mine = sorted(
        (row for row in found.rows if row.entry.source.resolve() in folders),
        key=lambda row: folders.index(row.entry.source.resolve()),
    )
    scored = [row for row in mine if _scores(row)]
    if not mine or not (scored or len(found.rows) > 1):
        raise Missing(
            "this evaluation has no scenario that the challenge scores; evaluate one of its tiers",
            "eval TIER=open",
        )
    known = [name for row in scored or found.rows for name in _scores(row)]
    return {
        "pool": [path.name for path in source.pool],
        "scored": bool(scored),
        "ranked_by": next(iter(known), None),
        "entries": [_entry(row, row in mine) for row in found.best_first],
        "gains": _gains(found, (scored or mine)[0]),
        "notes": found.notes,
    }


def _scores(row: Ranked) -> list[str]:
    """The scores that an entry has, the final first."""
    return [name for name in (FINAL, *STAGES) if row.score[name] is not None]


def _entry(row: Ranked, mine: bool) -> dict[str, Any]:
    return {
        "entry": row.entry.name,
        "mine": mine,
        "rank": row.rank,
        "score": row.score,
        "interval": {name: list(ends) for name, ends in row.interval.items()} if mine else {},
        "mean_win_rate": row.rates,
        "other": row.others,
    }


def _gains(ranking: Ranking, row: Ranked) -> Part:
    """For one entry, each scenario's worth: what beating the next, or everyone, there would add."""
    _, found = score.what_if(ranking, row.entry.name)
    return {
        "entry": row.entry.name,
        "scenarios": [
            {
                "scenario": gain.scenario,
                "of": gain.score,
                "win_rate": gain.rate,
                "next": gain.next.gain,
                "best": gain.best.gain,
            }
            for gain in found
        ],
    }
