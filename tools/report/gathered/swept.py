"""The sweep part: what its trials came to, what it cost and what it gained."""

from typing import Any

from tools.files import read_json
from tools.report.gathered import resources
from tools.report.gathered.source import Missing, Part, Source
from tools.run.folder import SWEEP

Trial = dict[str, Any]


def sweep(source: Source) -> Part:
    """Every trial with its losses and seconds; the axes; cost and gain.

    Raises:
        Missing: there is no whole sweep.
    """
    record = source.record(SWEEP, "the sweep is not finished")
    folder = source.run.output(SWEEP)
    told, spent = read_json(folder / "trials.json"), read_json(folder / "spent.json") or {}
    metrics, seconds = record["metrics"], spent.get("seconds", {})
    trials = [
        _trial(one, metrics["winner"], told.get("own"), seconds.get(str(one["number"])))
        for one in told["trials"]
    ]
    return {
        "axes": _axes(record["inputs"]["recipe"]["sweep"]["axes"]),
        "rungs": told["rungs"],
        "trials": trials,
        **_cost(source),
        "stopped": metrics.get("stopped"),
        "gain": _gain(trials, told["rungs"]),
        "seeds": told.get("seeds"),  # only where finalists were trained again
    }


def _trial(stored: Trial, winner: int, own: int | None, seconds: list[float] | None) -> Trial:
    losses = [loss for loss in stored["told"] if loss is not None]  # a broken one has none there
    return {
        "number": stored["number"],
        "values": stored["values"],
        "told": losses,
        # One that broke before a rung used time on its way there, too.
        "seconds": (seconds or [])[: len(losses)] if seconds else None,
        "reason": stored["reason"],
        "won": stored["number"] == winner,
        "own": stored["number"] == own,
    }


def _axes(axes: dict[str, Any]) -> list[Part]:
    """By axis, what is tried: a list of values, or the ends of a range."""
    return [
        {
            "key": key,
            "values": axis["values"],
            "range": axis["log"] or axis["range"],
            "log": bool(axis["log"]),
        }
        for key, axis in axes.items()
    ]


def _cost(source: Source) -> Part:
    """Seconds of the day, by the ledger; None where that does not know."""
    try:
        day = resources.day(source)
    except Missing:
        return {"seconds": None, "day": None}
    return {"seconds": day["segments"].get(SWEEP), "day": day["total"]}


def _gain(trials: list[Trial], rungs: list[float]) -> Part | None:
    """The winner beside the recipe's own values, at the last rung that both came to.

    None where the recipe's own values were not tried, or broke before the first rung.
    """
    winner = next((one for one in trials if one["won"]), None)
    own = next((one for one in trials if one["own"]), None)
    both = min(len(winner["told"]), len(own["told"])) if winner and own else 0
    if not winner or not own or not both:
        return None
    return {
        "rung": rungs[both - 1],
        "winner": winner["told"][both - 1],
        "own": own["told"][both - 1],
        "itself": winner is own,
    }
