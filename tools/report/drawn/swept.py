"""The section on the sweep: trials over time, their values side by side, cost and gain."""

import json
import math
from collections.abc import Callable
from typing import Any

from tools.console import duration
from tools.report.drawn.charts import Series, lines
from tools.report.drawn.html import Html, fold, table, tag
from tools.report.drawn.parallel import Lane, Thread, parallel
from tools.report.gathered.source import Part
from tools.report.scale import number, signed

Trial = dict[str, Any]
_KEYS = (("main", "the winner"), ("own", "the recipe's own values"), ("raw", "other trials"))


def sweep(part: Part) -> list[Html | None]:
    """A line on cost and gain, the two pictures, all trials as a table."""
    told = [one for one in part["trials"] if one["told"]]
    behind_first = sorted(told, key=lambda one: (one["won"], one["own"], -one["number"]))
    timed = [one for one in behind_first if one["seconds"]]
    unknown = "When trials came to their rungs is not known: the sweep is of an older version."
    return [
        tag("p", _cost(part), " ", _gain(part)),
        tag("p", _seeds(part["seeds"])) if part["seeds"] else None,
        _over_time(timed) if timed else tag("p", unknown, class_="soft"),
        _side_by_side(part["axes"], behind_first) if told else None,
        fold("All trials", _table(part)),
    ]


def _cost(part: Part) -> str:
    count = len(part["trials"])
    said = f"{count} trials"
    if part["seconds"] is not None:
        of_day = part["seconds"] / part["day"] if part["day"] else 0.0
        said += f" in {duration(part['seconds'])}, {of_day:.1%} of the day"
    over = "; then the sweep's share of the day was over" if part["stopped"] else ""
    return f"{said}{over}."


def _gain(part: Part) -> str:
    gain = part["gain"]
    if gain is None:
        return (
            "The recipe's own values were not tried, or broke: what the sweep gained over them is "
            "not known."
        )
    if gain["itself"]:
        return "The recipe's own values won: the sweep gained nothing but to know that."
    less = gain["winner"] - gain["own"]
    share = f" ({signed(100 * less / gain['own'], 1)} %)" if gain["own"] else ""
    return (
        f"After {gain['rung']:.1%} of a training the winner's eval_loss is "
        f"{number(gain['winner'])}, that of the recipe without the sweep {number(gain['own'])}: "
        f"{signed(less)}{share}."
    )


def _seeds(seeds: Part) -> str:
    """Whether the winner is better by its values or by luck."""
    means = " and ".join(
        f"trial {one['trial']}'s mean is {number(one['mean'], 4)} "
        f"({', '.join(number(loss, 4) for loss in one['eval_loss'])})"
        for one in seeds["finalists"]
    )
    half = ""
    if seeds["half"] is not None:
        half = f" The difference is {number(seeds['gain'], 4)}, give or take"
        half += f" {number(seeds['half'], 4)} (95 %, paired by seed, Student's t)"
    told = f"Trained to the last rung with {len(seeds['seeds'])} seeds {means}."
    return f"{told}{half}: {seeds['verdict']}." if half else f"{told} {seeds['verdict']}."


def _style(trial: Trial) -> str:
    return "main" if trial["won"] else "own" if trial["own"] else "raw"


def _over_time(trials: list[Trial]) -> Html:
    curves = [
        Series(
            _named(one),
            [[s / 60, loss] for s, loss in zip(one["seconds"], one["told"], strict=False)],
            _style(one),
            dots=True,
        )
        for one in trials
    ]
    styles = {_style(one) for one in trials}
    keys = [Series(name, [], style) for style, name in _KEYS if style in styles]
    title = "eval_loss at each rung, over the time that the trial had used"
    return lines("chart-trials", title, curves, "minutes of the trial", keys=keys)


def _named(trial: Trial) -> str:
    values = ", ".join(f"{key.rpartition('.')[2]}={_text(v)}" for key, v in trial["values"].items())
    return f"trial {trial['number']} ({values})"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _side_by_side(axes: list[Part], trials: list[Trial]) -> Html:
    """What was tried, an axis a key, and the last eval_loss of each trial on the axis behind."""
    losses = [one["told"][-1] for one in trials]
    loss = _scale(min(losses), max(losses), False)
    lanes, places = [], []
    for axis in axes:
        place = (
            _listed(axis["values"])
            if axis["values"]
            else _scale(axis["range"][0], axis["range"][1], axis["log"])
        )
        ends = axis["values"] or axis["range"]
        marks = [(place(value) or 0.0, _text(value)) for value in ends]
        lanes.append(Lane(axis["key"], marks))
        places.append([place(one["values"].get(axis["key"])) for one in trials])
    ends = sorted({min(losses), max(losses)})
    lanes.append(Lane("last eval_loss", [(loss(one) or 0.0, number(one)) for one in ends]))
    places.append([loss(one) for one in losses])
    threads = [
        Thread(
            f"{_named(one)}: {number(one['told'][-1])}", [lane[at] for lane in places], _style(one)
        )
        for at, one in enumerate(trials)
    ]
    best = min(trials, key=lambda one: (not one["won"], one["told"][-1]))
    told = (
        f"{len(trials)} trials over {len(axes)} axes. The winner, {_named(best)}, came to "
        f"{number(best['told'][-1])}; the losses go from {number(ends[0])} to {number(ends[-1])}, "
        "of trials that came to different rungs."
    )
    return parallel("chart-values", "What was tried, and the last eval_loss", lanes, threads, told)


def _listed(values: list[Any]) -> Callable[[Any], float | None]:
    """Places of values in a list, the first at the bottom."""
    words = [json.dumps(value) for value in values]
    last = max(len(words) - 1, 1)

    def place(value: Any) -> float | None:
        text = json.dumps(value)
        return words.index(text) / last if text in words else None

    return place


def _scale(low: float, high: float, log: bool) -> Callable[[Any], float | None]:
    """Places of numbers between two ends."""
    step = math.log if log else float

    def place(value: Any) -> float | None:
        if not isinstance(value, int | float):
            return None
        width = step(high) - step(low)
        return min(max((step(value) - step(low)) / width, 0.0), 1.0) if width else 0.5

    return place


def _table(part: Part) -> Html:
    keys = [axis["key"] for axis in part["axes"]]
    ordered = sorted(part["trials"], key=lambda one: (-len(one["told"]), one["told"][-1:]))
    rows = [
        [
            str(one["number"]),
            _state(one, len(part["rungs"])),
            *[_text(one["values"][key]) if key in one["values"] else "–" for key in keys],
            " ".join(number(loss, 4) for loss in one["told"]) or "–",
            duration(one["seconds"][-1]) if one["seconds"] else "–",
        ]
        for one in ordered
    ]
    heads = ("trial", "", *keys, "eval_loss at each rung", "time")
    return table(heads, rows, "Trials of the sweep", words=2)


def _state(trial: Trial, rungs: int) -> str:
    if trial["reason"]:
        return f"broke: {trial['reason'].splitlines()[0]}"
    words = ["winner"] if trial["won"] else []
    words += ["the recipe's own"] if trial["own"] else []
    words += (
        [] if trial["won"] else ["at the last rung" if len(trial["told"]) == rungs else "beaten"]
    )
    return ", ".join(words)
