"""The parts on what the run took: the day's clock, and memory predicted and measured."""

import contextlib
import dataclasses
from typing import Any

from tools.day import budget
from tools.errors import UserError
from tools.plan import job
from tools.plan.memory import peak as predict
from tools.report.gathered.source import Missing, Part, Source
from tools.run.folder import Run

GIB = 2**30


def day(source: Source) -> Part:
    """Seconds of the day by what they went to; ``segments`` add up to the day, if it was enough.

    Raises:
        Missing: no stage was on the clock yet.
    """
    run, ledger = source.run, budget.clock(source.run)
    intervals = ledger.intervals()
    if not intervals:
        raise Missing("no stage was on the clock yet", "train")
    works = _works(run)
    mine = [one for one in intervals if works.get(one.stage) == one.work]
    total, kept = 3600 * run.recipe.budget.hours, 60 * run.recipe.budget.reserve_minutes
    used = ledger.used(works)
    left = total - sum(used.values())
    # A soup, merge and quantize use the reserve up; what of it lies beyond the day is none.
    later = sum(used.get(stage, 0.0) for stage in ("soup", "merge", "quantize"))
    reserve = min(max(kept - later, 0.0), max(left, 0.0))
    return {
        "total": total,
        "segments": {**used, "reserve": reserve, "left": max(left - reserve, 0.0)},
        "over": max(-left, 0.0),
        "attempts": len(mine),
        "cut_off": sum(not one.ended for one in mine),
        "not_counted": sum(one.seconds for one in intervals) - sum(one.seconds for one in mine),
    }


def _works(run: Run) -> dict[str, str]:
    """Fingerprints of the stages that are here, and of those that the recipe would make now."""
    found = {}
    for stage in budget.stages_of(run):
        record = run.record(stage)
        with contextlib.suppress(UserError):  # a source file is gone: what it made is still here
            found[stage] = record["fingerprint"] if record else run.fingerprint(stage)
    return dict.fromkeys(budget.stages_of(run), "") | found


def memory(source: Source) -> Part:
    """Peak of a training step in GiB: predicted by part, and measured where it was.

    Raises:
        UserError: the model's numbers are not known.
    """
    recipe = source.run.recipe
    peak = predict(job.job(recipe))
    record = source.run.record("train")
    metrics: dict[str, Any] = record["metrics"] if record else {}
    return {
        "device": recipe.hardware.device,
        "available": recipe.hardware.memory_gib,
        "predicted": {name: size / GIB for name, size in dataclasses.asdict(peak).items()},
        "predicted_total": peak.total / GIB,
        "measured_card": metrics.get("peak_gpu_gib"),
        "measured_process": metrics.get("peak_process_gib"),
        "trained": record is not None,
    }
