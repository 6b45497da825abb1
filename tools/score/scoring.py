"""The score verb: the organizers' score of any pool, and where the points were lost.

``collect`` reads who is compared, ``score`` ranks them, ``render`` and ``as_json`` say it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.recipe.faults import nearest
from tools.score import against, bootstrap, pool, whatif
from tools.score.against import Against
from tools.score.pool import Entry
from tools.score.ranked import Ranked, Ranking
from tools.score.ranking import FINAL, STAGES, column, counts_as, ranks, standings
from tools.score.remarks import remarks
from tools.score.tables import aligned
from tools.score.whatif import Gain, Target

_SCORES = (*STAGES, FINAL)


def collect(paths: Sequence[Path], runs_root: Path) -> list[Entry]:
    """Who is compared.

    Args:
        paths: published results (JSON), HELM suites and run folders, any number of each; none
            means every run folder that was evaluated.
        runs_root: where run folders live.

    Raises:
        UserError: there is nothing to compare, or what there is cannot be read; all faults at once.
    """
    return pool.read(paths) if paths else pool.own(runs_root)


def score(entries: Sequence[Entry], confidence: bool = True) -> Ranking:
    """Rank a pool by the organizers' formula (``tools.score.ranking``).

    Args:
        entries: as ``collect`` gives them.
        confidence: also compute the intervals, which takes seconds.
    """
    metrics = [entry.metrics for entry in entries]
    found = standings(metrics)
    places = {one: ranks([standing.score[one] for standing in found]) for one in _SCORES}
    intervals = bootstrap.intervals(entries) if confidence else [{} for _ in entries]
    rows = [
        Ranked(
            entry,
            standing.rates,
            standing.score,
            {one: places[one][at] for one in _SCORES},
            standing.others,
            intervals[at],
        )
        for at, (entry, standing) in enumerate(zip(entries, found, strict=True))
    ]
    return Ranking(rows, remarks(rows))


def what_if(ranking: Ranking, name: str = "") -> tuple[Ranked | None, list[Gain]]:
    """What would raise an entry's score most.

    Args:
        ranking: as ``score`` gives it.
        name: the entry; "" is one's own that was evaluated last, tuned before base.

    Returns:
        The entry, None when nobody is asked for and none is one's own; and what each scenario
        would give, the most rewarding first.

    Raises:
        UserError: nobody is called so.
    """
    names = [row.entry.name for row in ranking.rows]
    if name and name not in names:
        listed = ", ".join(names)
        raise UserError(f"ENTRY={name}: nobody is called so{nearest(name, names)}; {listed}")
    if name:
        at = names.index(name)
    else:
        mine = [
            (not row.entry.name.endswith(" base"), row.entry.when, at)
            for at, row in enumerate(ranking.rows)
            if row.entry.own
        ]
        if not mine:
            return None, []
        at = max(mine)[2]
    return ranking.rows[at], whatif.gains([row.entry.metrics for row in ranking.rows], at)


def compare(ranking: Ranking, chosen: Ranked | None) -> list[Against]:
    """An entry of one's own against the others of one's own: is the difference more than noise?

    Args:
        ranking: as ``score`` gives it.
        chosen: the entry; None gives nothing, as a published one does.
    """
    if chosen is None or not chosen.entry.own:
        return []
    return against.against(chosen.entry, [row.entry for row in ranking.rows if row.entry.own])


def as_json(ranking: Ranking, name: str = "") -> list[dict[str, Any]]:
    """The ranking for programs.

    Args:
        ranking: as ``score`` gives it.
        name: whose what-if is wanted; "" for one's own newest.

    Returns:
        An entry each, in the pool's order: ``entry``, ``mean_win_rate`` (by scenario, null where it
        took no part), ``score`` (``open``, ``hidden``, ``full``; null without data), ``rank`` (as
        ``score``). Where there is something to say also ``interval`` (by score, lowest and
        highest), ``other`` (win rates of scenarios that are part of neither stage),
        ``what_if``: a list, the most rewarding first, of ``scenario``, ``win_rate``, ``of`` (the
        score meant), ``next`` and ``best``, each with ``win_rate``, ``score``, ``gain``; and
        ``against``: a list of ``entry``, ``mean`` (what this one has more), ``interval``,
        ``questions``, ``changed``, ``run_specs``, ``verdict``.
    """
    chosen, found = what_if(ranking, name)
    rows = []
    for row in ranking.rows:
        extra: dict[str, Any] = {
            "interval": {one: list(ends) for one, ends in row.interval.items()},
            "other": row.others,
            "what_if": [_gain_json(gain) for gain in found] if row is chosen else [],
            "against": against.as_json(compare(ranking, row)) if row is chosen else [],
        }
        rows.append(
            {
                "entry": row.entry.name,
                "mean_win_rate": row.rates,
                "score": row.score,
                "rank": row.rank,
                **{key: value for key, value in extra.items() if value},
            }
        )
    return rows


def _gain_json(gain: Gain) -> dict[str, Any]:
    steps = {
        key: {"win_rate": step.rate, "score": step.score, "gain": step.gain}
        for key, step in (("next", gain.next), ("best", gain.best))
    }
    return {"scenario": gain.scenario, "win_rate": gain.rate, "of": gain.score, **steps}


def render(ranking: Ranking, name: str = "") -> str:
    """The ranking as plain text.

    Args:
        ranking: as ``score`` gives it.
        name: whose what-if is wanted; "" for one's own newest.

    Raises:
        UserError: nobody is called so.
    """
    chosen, found = what_if(ranking, name)
    parts = [_scores(ranking), _rates(ranking), _others(ranking)]
    if chosen:
        named = chosen.entry.name
        parts += [against.render(named, compare(ranking, chosen)), _gains(chosen, found)]
    parts += ["\n".join(f"note: {note}" for note in ranking.notes)]
    return "\n\n".join(filter(None, parts))


def _scores(ranking: Ranking) -> str:
    known = [one for one in (FINAL, *STAGES) if any(r.score[one] is not None for r in ranking.rows)]
    confident = any(row.interval for row in ranking.rows)
    head = ["entry", *[word for one in known for word in (one, "rank")]]
    head += [f"95 % of {known[0]}"] if confident and known else []
    rows = [head] if known else []
    for row in ranking.best_first if known else []:
        cells = [row.entry.name]
        for one in known:
            cells += [_number(row.score[one]), str(row.rank[one] or "-")]
        ends = row.interval.get(known[0])
        cells += [f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "-"] if confident else []
        rows.append(cells)
    return aligned(rows) if rows else "no score: nobody has a scenario of the open or hidden stage"


def _rates(ranking: Ranking) -> str:
    scenarios = list(ranking.rows[0].rates)
    rows = [["win rate", *scenarios]]
    rows += [
        [row.entry.name, *[_number(row.rates[one]) for one in scenarios]]
        for row in ranking.best_first
    ]
    return aligned(rows) if scenarios else ""


def _others(ranking: Ranking) -> str:
    scenarios = list(dict.fromkeys(one for row in ranking.rows for one in row.others))
    rows = [["win rate, in no stage", *scenarios]]
    rows += [
        [row.entry.name, *[_number(row.others.get(one)) for one in scenarios]]
        for row in ranking.best_first
        if row.others
    ]
    return aligned(rows) if scenarios else ""


def _gains(chosen: Ranked, found: list[Gain]) -> str:
    """One line a scenario: what passing the next entry, and everyone, would give."""
    if not found:
        return ""
    of = found[0].score
    title = f"what if {chosen.entry.name} ({of} {_number(chosen.score[of])}) were better in one?"
    rows = [["scenario", "win rate", "past the next", "past all", "from", "next", "best", "in"]]
    for gain in found:
        name, target = _widest(gain)
        rows.append(
            [
                gain.scenario,
                _number(gain.rate),
                f"{gain.next.gain:+.3f}",
                f"{gain.best.gain:+.3f}",
                *[_value(value) for value in target],
                name.partition(" - ")[2] if gain.scenario != "ethics" else name,
            ]
        )
    last = [gain.scenario for gain in found if gain.rate == 0]
    why = f"last in {', '.join(last)}: while one of them is, its stage is next to 0" if last else ""
    return "\n".join(filter(None, [title, aligned(rows, left=(0, 7)), why]))


def _widest(gain: Gain) -> tuple[str, Target]:
    """The column in which most is missing to the best, of those that are there."""

    def gap(item: tuple[str, Target]) -> float:
        now, _, best = (counts_as(value, column(item[0])) for value in item[1])
        return abs(best - now)

    return max(gain.targets.items(), key=gap)


def _value(value: float | None) -> str:
    return "missing" if value is None else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
