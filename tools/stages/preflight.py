"""What is refused before a training starts, for it could not end well: day, memory, disk."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

from tools.base_model import experts
from tools.console import duration, say
from tools.day import checkpoints
from tools.day.budget import Day
from tools.errors import UserError
from tools.plan import remedy
from tools.plan.verdict import GIB, Plan, plan
from tools.recipe.schema import Recipe
from tools.run.folder import Run
from tools.stages import merging


def preflight(run: Run, base: Path, day: Day) -> None:
    """Let a training start, or say why not.

    Too long a training may start: the clock ends it in time. That is only said.

    Args:
        run: its rows are made.
        base: local folder of the base model.
        day: what is left of it.

    Raises:
        UserError: the day is used up, the card's memory, the host's or the disk is too small, or
            the base's files are not whole.
    """
    refuse_unmergeable(run.recipe)
    faults = [*_day(run, day), *merging.faults(base)]
    if found := _plan(run, base):
        faults += room(run, found)
        if found.hours and found.judged["time"] == "does not fit" and not faults:
            said = f"{found.hours.low:.1f} to {found.hours.high:.1f} hours are predicted"
            say(f"train: {said}, {found.day:.1f} are there: the clock ends it in time")
    if faults:
        raise UserError(faults)


def refuse_unmergeable(recipe: Recipe) -> None:
    """Stop a training whose weights no later stage could take, FORCE=1 or not.

    Raises:
        UserError: an adapter would sit on experts.
    """
    if faults := [f"{said}; {experts.REMEDY}" for _, said in experts.trained(recipe)]:
        raise UserError(faults)


def room(run: Run, found: Plan) -> list[str]:
    """What of memory and disk is too small for a plan; the run's folder need not be there."""
    return [*_memory(run, found), *_disk(run, found)]


def demand_room(run: Run, base: Path) -> None:
    """Stop a merge that the disk has no room for; the merged model is as large as its base.

    Raises:
        UserError: it has not.
    """
    size = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    free = shutil.disk_usage(run.path).free
    if size > free:
        raise UserError(
            f"{run.path}: the disk has {free / 1e9:.2f} GB free, the merged model takes "
            f"{size / 1e9:.2f}: make room, and the same command goes on; the adapter is whole"
        )


def _plan(run: Run, base: Path) -> Plan | None:
    """The plan for a base that is on this disk; None where its architecture is not known."""
    model = dataclasses.replace(run.recipe.model, source="local", path=str(base))
    try:
        return plan(dataclasses.replace(run.recipe, model=model), run.path.parent)
    except UserError as error:
        say(f"train: not held against the card's memory and the disk: {error}")
        return None


def _day(run: Run, day: Day) -> Iterator[str]:
    if day.left_to("train") > 0 or _checkpointed(run):
        return
    used = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in day.used.items())
    yield (
        f"budget.hours: nothing of the {duration(day.total)} is left to train ({used}; "
        f"{duration(day.reserve)} are reserved for merge and quantize), and no checkpoint is there "
        "to go on with; raise budget.hours, or begin another day with RUNS="
    )


def _memory(run: Run, found: Plan) -> Iterator[str]:
    card, more = found.recipe.hardware, "if there is more, say so"
    if found.judged["memory"] == "does not fit":
        yield (
            f"hardware.memory_gib: training needs {found.peak.total / GIB:.1f} of the "
            f"{card.memory_gib:g} GiB of {card.name} (make plan shows what for)\n"
            f"{remedy.render(found, run.path.parent)}\n"
            f'{more}: SET="hardware.memory_gib=…"'
        )
    if found.judged.get("host memory") == "does not fit":
        yield (
            f"hardware.host_memory_gib: merging needs {found.host / GIB:.1f}, quantizing "
            f"{found.quantize_host / GIB:.1f} of the "
            f'{card.host_memory_gib:g} GiB; {more}: SET="hardware.host_memory_gib=0"'
        )


def _disk(run: Run, found: Plan) -> Iterator[str]:
    """Checkpoints that are there already take no more room; an older result stays meanwhile."""
    parts = dataclasses.asdict(found.disk)
    path = run.path.absolute()
    there = next(folder for folder in (path, *path.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free + _size(run.unfinished("train"))
    if found.disk.total > free:
        listed = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts.items() if size)
        yield (
            f"{run.path}: the disk has {free / 1e9:.2f} GB for this run, which will take "
            f"{found.disk.total / 1e9:.2f} ({listed}); make room, move to another disk with RUNS=, "
            "or lower train.save_total_limit"
        )


def _checkpointed(run: Run) -> bool:
    there = checkpoints.found(run.unfinished("train"))
    # Sealed is enough here: train verifies the hashes.
    return any((path / checkpoints.COMPLETE).is_file() for path in there)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
