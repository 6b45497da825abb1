"""How many trials of a sweep fit into its share of the day, and how far each goes."""

import dataclasses
from typing import Any

from tools.console import duration
from tools.day.rungs import Ladder, ladder
from tools.plan.verdict import Plan
from tools.recipe.schema import Sweep

OTHERS = (1, 3, 9)  # times ``keep`` trials, whose length is told beside the recipe's own


def seconds(found: Plan) -> tuple[float, float]:
    """Seconds that all trials may take, and those of a whole training at its slowest."""
    sweep = found.recipe.sweep
    training = 3600 * found.hours.high if found.hours else 0.0
    return (sweep.share if sweep else 0.0) * found.day * 3600, training


def render(found: Plan) -> str:
    """The sweep in lines; empty where a recipe has none."""
    sweep = found.recipe.sweep
    if sweep is None or sweep.work:  # it was made: its values are what is planned
        return ""
    allowed, training = seconds(found)
    made = ladder(sweep, allowed, training)
    head = f"sweep: {duration(allowed)} of the day (sweep.share {sweep.share:g})"
    if made is None:
        why = "how long a training takes is not known" if not training else "too short to start"
        return f"{head}; no trial is planned: {why}; set sweep.first, or raise sweep.share"
    lines = [f"{head}: {_said(made)}"]
    if training:
        needed = made.seconds(training)
        lines.append(f"  expected      {duration(needed)}   {_verdict(needed, allowed)}")
    if steps := found.work.steps:
        at = ", ".join(f"{max(1, round(rung * steps)):,}" for rung in made.rungs)
        lines.append(f"  steps         {at}   of {steps:,}, at each rung")
    if made.again:
        told = f"the winner and one more to the last rung with {sweep.seeds - 1} other seeds"
        lines.append(f"  again         {made.again}   trainings in it: {told}")
    left = duration(found.day * 3600 - allowed)
    lines.append(f"  then          {left}   are left to the winner, at the least")
    lines += _others(sweep, allowed, training)
    return "\n".join(lines)


def as_json(found: Plan) -> dict[str, Any] | None:
    """The same for programs."""
    sweep = found.recipe.sweep
    if sweep is None or sweep.work:
        return None
    allowed, training = seconds(found)
    made = ladder(sweep, allowed, training)
    return {
        "seconds": allowed,
        "trials": sweep.trials,
        "rungs": list(made.rungs) if made else [],
        "climbs": list(made.climbs) if made else [],
        "again": made.again if made else 0,
        "expected_seconds": made.seconds(training) if made and training else None,
    }


def _said(made: Ladder) -> str:
    """Who comes how far."""
    steps = [
        f"{trials:.0f} trials to {rung:.1%}" if not index else f"{trials:.0f} to {rung:.1%}"
        for index, (trials, rung) in enumerate(zip(made.climbs, made.rungs, strict=True))
    ]
    return f"{', '.join(steps)} of a training; the winner goes on"


def _verdict(needed: float, allowed: float) -> str:
    if needed <= allowed * 1.001:  # what was made to fit does
        return "fits; the start of each trial is in it"
    return "does not fit: the clock ends it, and the best so far wins; lower sweep.first or trials"


def _others(sweep: Sweep, allowed: float, training: float) -> list[str]:
    """How far other numbers of trials would go in the same time."""
    lines = []
    for times in OTHERS:
        trials = times * sweep.keep
        if trials == sweep.trials or trials < sweep.keep ** (sweep.rungs - 1):
            continue
        made = ladder(dataclasses.replace(sweep, trials=trials, first=0.0), allowed, training)
        if made:
            lines.append(f"  or {trials:>3} trials  {made.rungs[-1]:.1%} at the last rung")
    return lines
