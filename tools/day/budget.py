"""What is left of a recipe's day: for a stage about to start, and for ``make clock``."""

import contextlib
import dataclasses
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tools.console import duration
from tools.day import watch
from tools.day.clock import Clock, Interval
from tools.errors import UserError
from tools.recipe.operators import declared as operators
from tools.run.folder import Run

STAGES = ("train", "merge", "quantize")  # rows are made without the GPU, HELM comes after the day


@dataclass(frozen=True)
class Day:
    """A recipe's day, in seconds.

    Attributes:
        total: the budget.
        reserve: of it, kept for merge and quantize, and for a soup.
        used: by stage, with the inputs that the recipe has now.
        others: used in the same folder with other inputs; not counted.
        share: of the time that training has, what a sweep may use.
    """

    total: float
    reserve: float
    used: dict[str, float]
    others: float
    share: float = 0.0

    @property
    def left(self) -> float:
        """Seconds left, negative when more than the day was used."""
        return self.total - sum(self.used.values())

    def limit(self, stage: str) -> float:
        """Seconds that a stage may take in all, earlier attempts included."""
        others = sum(self.used.values()) - self.used[stage]
        kept = self.reserve if stage in ("data", "sweep", "train") else 0.0
        limit = self.total - others - kept
        return min(limit, self.share * (self.total - kept)) if stage == "sweep" else limit

    def left_to(self, stage: str) -> float:
        """Seconds that a stage may still take."""
        return self.limit(stage) - self.used[stage]


def stages_of(run: Run) -> tuple[str, ...]:
    """The stages whose time is the day's, a sweep and a soup among them where a recipe has one."""
    recipe = run.recipe
    train, *later = STAGES
    sweep, soup = ("sweep",) if recipe.sweep else (), ("soup",) if recipe.soup else ()
    return (*sweep, train, *soup, *later)


def clock(run: Run) -> Clock:
    """The run's ledger."""
    return Clock(run.path / "clock.jsonl")


def day(run: Run) -> Day:
    """The day of a run's recipe, as its ledger has it."""
    data = run.recipe.data
    # Rows are made without the GPU, but for those that the base model's answers decide.
    first = ("data",) if operators.asks_base(data.operators, data.sources) else ()
    sweep = run.recipe.sweep
    stages = (*first, *stages_of(run))
    ledger, works = clock(run), {stage: run.fingerprint(stage) for stage in stages}
    others = sum(one.seconds for one in ledger.intervals() if works.get(one.stage) != one.work)
    total, reserve = 3600 * run.recipe.budget.hours, 60 * run.recipe.budget.reserve_minutes
    share = sweep.share if sweep else 0.0
    return Day(total, reserve, ledger.used(works), others, share)


def holder(run: Run) -> str:
    """The process at work in a run folder, by its id; empty when there is none."""
    try:
        with (run.path / ".lock").open(encoding="utf-8") as file:
            try:
                # Shared: two who only look must not take each other for the holder.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip() or "unknown"
    except FileNotFoundError:
        pass  # no verb has worked there yet
    return ""


def at_work(run: Run) -> Interval | None:
    """The interval in progress; None when no process is at work, or not on the clock."""
    pid = holder(run)
    # A killed process leaves its interval open, so open alone does not mean at work.
    open_ones = [one for one in clock(run).intervals() if not one.ended and str(one.pid) == pid]
    return open_ones[-1] if open_ones else None


@contextlib.contextmanager
def alone(run: Run) -> Iterator[None]:
    """Hold the run folder; who is refused learns what the other process is at.

    Raises:
        UserError: another process holds it.
    """
    # Entered by hand: a UserError of the body's own says nothing of the lock.
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(run.lock())
        except UserError as error:
            other = at_work(run)
            doing = f" ({other.stage}, since {other.since})" if other else ""
            raise UserError(f"{error}{doing}") from None
        yield


def render(run: Run) -> str:
    """The day in lines: used, left, reserved, by stage, and what is going on."""
    found = day(run)
    lines = [_headline(run, found)]
    lines += [f"  {stage:<12}{duration(seconds)}" for stage, seconds in found.used.items()]
    if found.others >= 0.5:  # less would read 0:00:00
        lines.append(f"  {'not counted':<12}{duration(found.others)}   other recipes in {run.path}")
    if torn := clock(run).torn():
        lines.append(f"  {torn} line(s) of clock.jsonl torn by a crash, a heartbeat each")
    return "\n".join([*lines, _now(run, found)])


def as_json(run: Run) -> dict[str, Any]:
    """The same for programs, in seconds."""
    found, present = day(run), at_work(run)
    progress = _progress(run, present)
    return {
        "run": str(run.path),
        "total": found.total,
        "reserve": found.reserve,
        "used": found.used,
        "left": found.left,
        "left_to_training": found.left_to("train"),
        "not_counted": found.others,
        "torn_lines": clock(run).torn(),
        "process": holder(run),
        "now": dataclasses.asdict(present) if present else None,
        "progress": _as_json(progress) if progress else None,
    }


def _headline(run: Run, found: Day) -> str:
    used, total = duration(sum(found.used.values())), duration(found.total)
    if found.left <= -0.5:  # nearer to 0 it would read 0:00:00 over the day
        return f"clock: {run.path}: {used} of {total} used, {duration(-found.left)} over the day"
    left = max(found.left, 0.0)
    reserved = duration(min(found.reserve, left))
    return (
        f"clock: {run.path}: {used} of {total} used, {duration(left)} left, of it {reserved} "
        "reserved for merge and quantize"
    )


def _now(run: Run, found: Day) -> str:
    present, pid = at_work(run), holder(run)
    if present is None:
        return f"now: process {pid}, off the clock" if pid else "now: nothing is at work"
    said = f"now: {present.stage}, process {present.pid}, since {present.since}"
    if progress := _progress(run, present):
        left = found.left_to("train")
        said += f"\n  {watch.line(progress, left)}\n  {watch.outlook(progress, left)}"
    return said


def _progress(run: Run, present: Interval | None) -> watch.Progress | None:
    """How far the training in progress is; None when there is none, or it tells nothing yet."""
    if present is None or present.stage != "train":
        return None
    return watch.progress(run.path / watch.EVENTS)


def _as_json(progress: watch.Progress) -> dict[str, Any]:
    names = ("step", "total", "loss", "held_out", "step_seconds", "eta_seconds")
    return {name: getattr(progress, name) for name in names}
