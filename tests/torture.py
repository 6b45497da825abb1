"""A run that is killed over and over must end as one that was left alone: ``make torture``.

Every ``kill -9`` falls at a random moment of starting up, of a step, of a save, of merge or of
quantize, and the run is started again until it ends. Its files must then be those of the
undisturbed run, byte for byte, its ledger must hold the time that a second clock saw, and at no
kill may a final folder be there half-written.
"""

import argparse
import contextlib
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.e2e.conftest import start, write_recipe
from tools.day.clock import HEARTBEAT, Clock
from tools.day.watch import EVENTS, progress
from tools.files import file_digest, read_json
from tools.rebuild.verify import verify
from tools.recipe.load import load
from tools.run.folder import RECORD, Run

NAME = "tiny"
STAGES = ("train", "merge", "quantize")
FOLDERS = ("adapter", "merged", "quantized")
POLL = 0.01  # seconds between two looks
SLACK = 1.0  # seconds that a beat may come late on a busy machine, the disk's time included
LONG = ("train.num_epochs=3",)  # more steps and saves to be killed in
# Axolotl's log and its model card: the first tells the time, the second also of an evaluation that
# was lost in a kill.
PROSE = {"debug.log", "README.md"}
NEVER = 1800.0  # seconds after which a moment to kill counts as missed; a busy machine is slow


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Attributes:
        stage: in which stage.
        kind: ``start-up``, ``step``, ``save`` or ``any``.
        step: for ``step`` and ``save``, the first optimizer step it may be.
        delay: seconds from then on.
    """

    stage: str
    kind: str
    step: int
    delay: float


@dataclass(frozen=True)
class Kill:
    """One kill and what was found after it.

    Attributes:
        moment: what was planned.
        stage: what was on the clock, ``-`` when nothing was.
        step: optimizer steps the attempt had come to.
        seconds: from the start of the interval to the kill.
        lost: of them, those that the ledger does not have.
        outputs: the final folders that were there and whole.
        faults: what should not be.
    """

    moment: Moment
    stage: str
    step: int
    seconds: float
    lost: float
    outputs: list[str]
    faults: list[str]


@dataclass
class Report:
    """What a torture found: the kills, seconds by either clock, and what should not be."""

    kills: list[Kill] = field(default_factory=list)
    ledger: float = 0.0
    true: float = 0.0
    rounds: int = 0
    faults: list[str] = field(default_factory=list)


class Witness:
    """Times the ledger's intervals by a clock of its own.

    Args:
        ledger: a ``clock.jsonl``; the lines that are in it already are not looked at.
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger, self._read = ledger, 0
        self._open: dict[str, tuple[str, float]] = {}
        self.seconds: dict[str, float] = {}

    def look(self) -> None:
        """Take in the lines that are new."""
        if not self._ledger.exists():
            return
        with self._ledger.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return  # torn by a kill
        if entry["event"] == "start":
            self._open[entry["id"]] = (entry["stage"], time.monotonic())
            self.seconds[entry["id"]] = 0.0
        if entry["event"] == "stop":
            self._end(entry["id"], time.monotonic())

    def _end(self, name: str, moment: float) -> None:
        self.seconds[name] = moment - self._open.pop(name)[1]

    @property
    def present(self) -> tuple[str, float]:
        """The stage on the clock and since when, or ``-`` and 0."""
        return next(iter(self._open.values()), ("-", 0.0))

    def killed(self, moment: float) -> None:
        """End what was open at the moment of a kill."""
        self.look()  # what was written just before it
        for name in list(self._open):
            self._end(name, moment)


def descendants(pid: int) -> list[int]:
    """All processes below one, by Linux's own list."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:  # the thread has just ended
            continue
        found += [one for child in children for one in (child, *descendants(child))]
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def left_alone(recipe: Path, folder: Path, *sets: str) -> Path:
    """Make the undisturbed run, where the tortured one will be, and move it aside."""
    process = start("quantize", recipe, folder / "runs", *sets)
    printed, _ = process.communicate()
    assert process.returncode == 0, printed[-4000:]
    return _aside(folder, "alone")


def _aside(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return (folder / "runs" / NAME).rename(folder / name / NAME)


class Torture:
    """Kills runs of one recipe.

    Args:
        recipe: its file.
        alone: what ``left_alone`` gave; the tortured run gets the same path as that one had,
            because files may hold paths.
        sets: values changed, as for ``alone``.
        tell: called with each row of the table.
    """

    def __init__(
        self, recipe: Path, alone: Path, sets: tuple[str, ...], tell: Callable[[str], None] = print
    ) -> None:
        self._recipe, self._alone, self._sets, self._tell = recipe, alone, sets, tell
        self._folder = alone.parent.parent
        self._runs = self._folder / "runs"
        self._run = self._runs / NAME
        self._witness = Witness(self._run / "clock.jsonl")
        self._began = 0.0
        self.report = Report()

    def suffer(self, moments: list[Moment]) -> Report:
        """Kill at all these moments, in as many runs as that takes."""
        self._tell(_HEAD)
        left = list(moments)
        while left:
            self._witness = Witness(self._run / "clock.jsonl")
            while left and self._attempt(left[0]):
                left.pop(0)
            if left:  # this attempt was faster than the undisturbed one
                left[0] = replace(left[0], delay=left[0].delay / 2)
            else:
                self._attempt(None)
            self._judge()
            self.report.rounds += 1
            _aside(self._folder, f"tortured-{self.report.rounds}")
        return self.report

    def _attempt(self, moment: Moment | None) -> bool:
        """Start the run and kill it at ``moment``; False when it came to its end before."""
        self._began = time.time()
        process = start("quantize", self._recipe, self._runs, *self._sets)
        until, due = time.monotonic() + NEVER, math.inf
        while process.poll() is None and time.monotonic() < until:
            self._witness.look()
            if moment and due == math.inf and self._reached(moment):
                due = time.monotonic() + moment.delay
            if moment and time.monotonic() >= due:
                self._kill(process, moment)
                return True
            time.sleep(POLL)
        if process.poll() is None:
            process.kill()
        printed, _ = process.communicate()
        self._witness.look()
        if process.returncode:
            self._fault(f"exit code {process.returncode}, {moment}: {printed[-3000:]}")
        return process.returncode != 0  # the same again would fail again

    def _reached(self, moment: Moment) -> bool:
        """Whether the time to kill has come, but for its delay; also when it has passed."""
        stage, since = self._witness.present
        if moment.kind == "start-up":
            return True
        if stage != moment.stage:
            return stage in STAGES and STAGES.index(stage) > STAGES.index(moment.stage)
        if moment.kind == "save":
            return any(self._saving(moment.step))
        if moment.kind == "step":
            seen = progress(self._run / EVENTS)
            fresh = seen is not None and seen.last is not None and seen.last > since
            return fresh and seen is not None and seen.step >= moment.step
        return True

    def _saving(self, step: int) -> Iterator[Path]:
        """New checkpoint folders from ``step`` on, under whatever name they are filled."""
        for folder in self._run.glob(".adapter*/**/*checkpoint-*"):
            number = re.search(r"checkpoint-(\d+)", folder.name)
            with contextlib.suppress(FileNotFoundError):  # it has just got its final name
                if number and int(number[1]) >= step and folder.stat().st_mtime > self._began:
                    yield folder

    def _kill(self, process: subprocess.Popen[str], moment: Moment) -> None:
        below = descendants(process.pid)
        killed = time.monotonic()
        process.send_signal(signal.SIGKILL)
        process.wait()
        stage, since = self._witness.present
        self._witness.killed(killed)
        process.communicate()
        faults = [f"process {pid} outlived the kill" for pid in _survivors(below)]
        outputs, broken = self._outputs()
        seen = progress(self._run / EVENTS)
        seconds = killed - since if since else 0.0
        lost = self._lost(since > 0)
        if lost > HEARTBEAT + SLACK or lost < -SLACK:
            faults.append(f"the ledger is {lost:.1f} s from the true time")
        kill = Kill(
            moment, stage, seen.step if seen else 0, seconds, lost, outputs, faults + broken
        )
        self.report.kills.append(kill)
        self.report.faults += [f"kill {len(self.report.kills)}: {f}" for f in kill.faults]
        self._tell(_row(len(self.report.kills), kill))

    def _lost(self, on_the_clock: bool) -> float:
        """Seconds of the interval just killed that the ledger does not have."""
        if not on_the_clock:
            return 0.0
        return list(self._witness.seconds.values())[-1] - self._intervals()[-1]

    def _intervals(self) -> list[float]:
        return [one.seconds for one in Clock(self._run / "clock.jsonl").intervals()]

    def _outputs(self) -> tuple[list[str], list[str]]:
        """Which final folders are whole, and what is wrong with the others that are there."""
        broken = {
            name: half_written(self._run / name) for name in FOLDERS if (self._run / name).exists()
        }
        whole = [name for name, files in broken.items() if not files]
        return whole, [
            f"{name}/ is half-written: {', '.join(f)}" for name, f in broken.items() if f
        ]

    def _judge(self) -> None:
        """Hold the finished run against the undisturbed one, and the ledger against the witness."""
        for folder in FOLDERS:
            for name in differing(self._alone / folder, self._run / folder):
                self._fault(f"{folder}/{name} is not the undisturbed run's")
        self.report.faults += verify(self._run)
        run = Run(load(self._recipe, list(self._sets)).recipe, self._runs)
        works = {stage: run.fingerprint(stage) for stage in STAGES}
        ledger = sum(Clock(self._run / "clock.jsonl").used(works).values())
        if abs(ledger - sum(self._intervals())) > 0.1:
            self._fault("the ledger does not count all intervals of the recipe")
        self.report.ledger += ledger
        self.report.true += sum(self._witness.seconds.values())

    def _fault(self, text: str) -> None:
        self.report.faults.append(text)
        self._tell(f"FAULT: {text}")


def _survivors(pids: list[int], seconds: float = 10.0) -> list[int]:
    until = time.monotonic() + seconds
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < until:
        time.sleep(POLL)
    return left


def half_written(folder: Path) -> list[str]:
    """Files of a final folder that are not what its record says; a missing record is one."""
    outputs = (read_json(folder / RECORD) or {}).get("outputs")
    if not outputs:
        return [RECORD]
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    wrong = {
        name
        for name, entry in outputs.items()
        if name not in there or file_digest(folder / name) != entry["sha256"]
    }
    return sorted(wrong | there - outputs.keys() - {RECORD})


def differing(one: Path, other: Path) -> list[str]:
    """Names of the files that are not byte for byte the same in two folders, prose aside."""
    names = {
        path.relative_to(root).as_posix()
        for root in (one, other)
        for path in root.rglob("*")
        if path.is_file() and path.name not in {RECORD, *PROSE}  # the record holds the time, too
    }
    return sorted(name for name in names if _bytes(one / name) != _bytes(other / name))


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def plan(kills: int, seed: int, alone: Path) -> list[Moment]:
    """Random moments over all three stages, later steps later, so that the run gets on.

    Args:
        kills: how many; half of them in train, a quarter each in merge and quantize.
        seed: of the choice.
        alone: the undisturbed run, for the lengths of its stages.
    """
    rng = random.Random(seed)
    merge = quantize = max(1, kills // 4)
    lengths = {one.stage: one.seconds for one in Clock(alone / "clock.jsonl").intervals()}
    moments = list(_in_training(kills - merge - quantize, rng, alone))
    for stage, count in (("merge", merge), ("quantize", quantize)):
        moments += [
            # A tenth off the end, or a fast attempt would be over before the kill.
            Moment(stage, "any", 0, rng.uniform(0.0, 0.9 * lengths[stage]))
            for _ in range(count)
        ]
    return moments


def _in_training(count: int, rng: random.Random, alone: Path) -> Iterator[Moment]:
    seen = progress(alone / EVENTS)
    assert seen is not None
    events = [json.loads(line) for line in (alone / EVENTS).read_text().splitlines()]
    begun = {event["event"]: event["monotonic"] for event in reversed(events)}
    longest = {"start-up": begun["begin"] - begun["open"], "step": 0.3, "save": 0.1}
    for i in range(count):
        kind = ("step", "save", "start-up")[i % 3]
        step = rng.randrange(seen.total * i // count, seen.total * (i + 1) // count)
        yield Moment("train", kind, max(1, step), rng.uniform(0.0, longest[kind]))


_HEAD = "kill  planned            at stage  step  seconds  not in ledger  whole outputs"


def _row(number: int, kill: Kill) -> str:
    planned = f"{kill.moment.stage} {kill.moment.kind}"
    planned += f" {kill.moment.step}" if kill.moment.step else ""
    outputs = ", ".join(kill.outputs) or "none"
    wrong = f"  FAULT: {'; '.join(kill.faults)}" if kill.faults else ""
    return (
        f"{number:>4}  {planned:<17}  {kill.stage:<8}  {kill.step:>4}  {kill.seconds:>7.2f}  "
        f"{kill.lost:>13.2f}  {outputs}{wrong}"
    )


def summary(report: Report) -> str:
    """One line: what was done to the run and whether it minded."""
    by_stage = {
        stage: sum(kill.stage == stage for kill in report.kills) for stage in (*STAGES, "-")
    }
    spread = ", ".join(f"{stage} {count}" for stage, count in by_stage.items() if stage != "-")
    verdict = f"{len(report.faults)} faults" if report.faults else "byte for byte as left alone"
    return (
        f"torture: {len(report.kills)} kills ({spread}, off the clock {by_stage['-']}), runs ended "
        f"{report.rounds}: {verdict}; ledger {report.ledger:.1f} s, true {report.true:.1f} s, "
        f"{report.true - report.ledger:.1f} s lost in all"
    )


def torture(recipe: Path, alone: Path, kills: int, seed: int, sets: tuple[str, ...] = ()) -> Report:
    """Torture a recipe's run.

    Args:
        recipe: its file.
        alone: what ``left_alone`` gave for it and ``sets``.
        kills: how many.
        seed: of their moments.
        sets: values of the recipe that are changed.
    """
    report = Torture(recipe, alone, sets).suffer(plan(kills, seed, alone))
    allowed = len(report.kills) * HEARTBEAT + SLACK
    if not -SLACK <= report.true - report.ledger <= allowed:
        report.faults.append(f"the ledger is more than {allowed:.0f} s from the true time")
    if missed := [stage for stage in STAGES if all(k.stage != stage for k in report.kills)]:
        report.faults.append(f"no kill fell into {', '.join(missed)}; try another --seed")
    return report


def main() -> int:
    """Torture the tiny recipe, print a table; the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--runs", default="", help="keep everything there (default: nothing)")
    parser.add_argument("--quick", action="store_true", help="a third of the steps")
    args = parser.parse_args()
    sets = () if args.quick else LONG
    with tempfile.TemporaryDirectory(prefix="torture-") as temporary:
        folder = Path(args.runs or temporary).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        recipe = write_recipe(folder)
        print(f"torture: seed {args.seed}, in {folder}; first the run that is left alone")
        alone = left_alone(recipe, folder, *sets)
        report = torture(recipe, alone, args.kills, args.seed, sets)
    print(summary(report) + f"; {time.monotonic() - began:.0f} s")
    for fault in report.faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    return 1 if report.faults else 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
