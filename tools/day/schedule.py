"""What the clock decides in a training: how far the learning rate is, and which step is the last.

A learning-rate schedule is a function of steps made over steps planned; on a machine slower than
planned it would be cut off high above its floor. Here time pushes it on: while the steps that
remain do not fit into the time that remains, each step uses up as much of the remaining schedule as
it used of the remaining time. Over an unbroken run that is

    progress = max(steps / planned steps, time / allowed time),

and a machine that becomes slow on its way, or a run that was interrupted, goes on from where it
was. While all steps fit, nothing is changed. No torch here.
"""

import dataclasses
import json
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tools.day.clock import Allowance

FILE = "schedule.json"  # in the adapter folder, when the clock made a difference
VARIABLE = "ONEDAY_DAY"  # environment variable that carries a Day to Axolotl's process
# From the last checkpoint to the end of the stage the best weights are read and the final ones
# written (two more saves, say), Axolotl's process ends, ours imports torch and reads the adapter.
# That takes as long as imports do, so it is estimated as a share of the start-up, and no less than
# some seconds (measured with Axolotl 0.19: 0.24 to 0.37 of 13 to 37 s, two cores, idle and busy).
FINISH, FINISH_SHARE = 5.0, 0.4
# Where fewer start-ups than this are left, the base is not evaluated before the first step.
SHORT_DAY = 10.0
RECENT = 64  # steps that the next one is judged by
_SAVE_RATE = 100e6  # bytes a second of a slow disk, until a save was timed
_STATES = 3  # a checkpoint's size over its weights': Adam keeps two numbers for each


@dataclass(frozen=True)
class Day:
    """What Axolotl's process is told of the day.

    Attributes:
        allowance: the seconds that training may use.
        checkpoint_seconds: longest time between two checkpoints.
        replay: a ``schedule.json`` to follow instead of the clock; empty for none.
        rungs: of a trial, the shares of all steps after which it is evaluated and saved; after the
            last one it stops. None otherwise.
        kept: how many of the last checkpoints leave their adapter to a soup.
    """

    allowance: Allowance
    checkpoint_seconds: float
    replay: str = ""
    rungs: tuple[float, ...] = ()
    kept: int = 0

    def dump(self) -> str:
        """As one line of text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def load(cls, text: str) -> "Day":
        """From that line."""
        values = json.loads(text)
        whole = {"allowance": Allowance(**values["allowance"]), "rungs": tuple(values["rungs"])}
        return cls(**{**values, **whole})


class Meter:
    """Seconds that steps, evaluations and saves take; careful guesses before any was timed.

    Args:
        weights: bytes of what is trained.

    Attributes:
        evaluation_steps: how many steps train on as many rows as an evaluation reads; 0 when
            nothing is evaluated.
        start_up: seconds that went by until training could begin.
        compares: whether an evaluated checkpoint is there. Only then does an evaluation at the end
            tell which is the best; on a short day its time is better spent on steps.
    """

    def __init__(self, weights: float) -> None:
        self.evaluation_steps = self.start_up = 0.0
        self.compares = False
        self._save = 1 + _STATES * weights / _SAVE_RATE
        self._evaluation: float | None = None
        self._first = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._stepping = self._aside = 0.0

    def stepped(self, seconds: float) -> None:
        """A step was made; the first compiles and allocates, so it counts only while alone."""
        if self._first:
            self._recent.append(seconds)
            self._stepping += seconds
        else:
            self._first = seconds

    def evaluated(self, seconds: float, trained: bool = True) -> None:
        """An evaluation was made, of a model that was trained or of the base before all steps."""
        self._evaluation, self.compares = seconds, self.compares or trained
        self._aside += seconds

    def saved(self, seconds: float) -> None:
        """A checkpoint was written."""
        self._save = seconds
        self._aside += seconds

    @property
    def longest(self) -> float:
        """Seconds that the next step may take."""
        # The slowest, no mean: a step that was begun is not given up.
        return max(self._recent, default=self._first)

    @property
    def save(self) -> float:
        """Seconds of a checkpoint."""
        return self._save

    @property
    def evaluation(self) -> float:
        """Seconds of an evaluation; before the first as many as its rows take to train on.

        The very first step, which compiles, is not taken that many times.
        """
        if self._evaluation is None:
            steps = self.evaluation_steps if self._recent else min(1.0, self.evaluation_steps)
            return steps * self.longest
        return self._evaluation

    @property
    def finish(self) -> float:
        """Seconds from the last checkpoint to the end of the stage."""
        return max(FINISH, FINISH_SHARE * self.start_up) + 2 * self._save

    @property
    def ending(self) -> float:
        """Seconds from the last step to the end of the stage."""
        return self.compares * self.evaluation + self._save + self.finish

    def need(self, steps: int) -> float:
        """Seconds that so many steps will take, with their share of evaluations and saves.

        Speed is that of the newest steps; 0 while there are none to go by.
        """
        if not self._recent:
            return 0.0
        aside = 1 + self._aside / self._stepping
        return steps * aside * sum(self._recent) / len(self._recent)


@dataclass(frozen=True)
class Decision:
    """What to do at the end of a step."""

    stop: bool
    evaluate: bool
    save: bool


class Course(Protocol):
    """Who decides: the clock, or the record of an earlier run.

    Attributes:
        state: plain values, for the checkpoint.
    """

    state: dict[str, Any]

    def effective(self, step: int) -> float:
        """The step that the learning rate is taken at, ``step`` or later."""

    def decide(self, step: int, last: bool, evaluate: bool, save: bool) -> Decision:
        """What to do after ``step``.

        Args:
            step: steps made.
            last: whether all are made.
            evaluate: whether an evaluation is due.
            save: whether a checkpoint is due.
        """


class ByClock:
    """The clock decides.

    Args:
        planned: steps in all.
        meter: what things take.
        left: seconds left to training now.
    """

    def __init__(self, planned: int, meter: Meter, left: Callable[[], float]) -> None:
        self.state: dict[str, Any] = {"step": 0, "progress": 0.0, "pressed": []}
        self._planned, self._meter, self._left = planned, meter, left
        self._before = left()

    def effective(self, step: int) -> float:
        """The step itself, exactly, as long as time never pressed."""
        if step > self.state["step"]:  # each parameter group asks; time moves on once a step
            self._advance(step)
        return effective(step, self.state["progress"], self._planned)

    def _advance(self, step: int) -> None:
        left = self._left()
        # Up to the start of the last step: decide stops where one more might not fit.
        steps_end = left - self._meter.ending - self._meter.longest
        progress, done = self.state["progress"], step / self._planned
        if self._meter.need(self._planned - step) > steps_end:
            progress = push(progress, self._before - left, steps_end)
        if progress > done:
            self.state["pressed"].append([step, progress])
        # In place: this very object is Timed's __dict__.
        self.state |= {"step": step, "progress": max(progress, done)}
        self._before = left

    def decide(self, step: int, last: bool, evaluate: bool, save: bool) -> Decision:
        """Stop when another step, and what must follow it, would not fit."""
        left, meter = self._left(), self._meter
        due = evaluate * meter.evaluation + save * meter.save
        if not last and left >= due + meter.longest + meter.ending:
            return Decision(False, evaluate, save)
        wanted = evaluate or (not last and meter.compares)
        fits = left >= meter.evaluation + meter.save + meter.finish
        # At the planned end the trainer asks for its own save; where it is cut nobody else does.
        return Decision(True, wanted and fits, save or not last)


class ByRecord:
    """An earlier run's ``schedule.json`` decides: the same steps, whatever they take now.

    Args:
        record: its values, see ``record``.
    """

    def __init__(self, record: dict[str, Any]) -> None:
        self.state: dict[str, Any] = {"step": 0, "progress": 0.0, "pressed": record["pressed"]}
        self._record, self._progress = record, dict(record["pressed"])

    def effective(self, step: int) -> float:
        """As then."""
        self.state["step"] = step
        return effective(step, self._progress.get(step, 0.0), self._record["planned"])

    def decide(self, step: int, last: bool, evaluate: bool, save: bool) -> Decision:
        """As then."""
        if step < self._record["stop"]:
            return Decision(False, evaluate, save)
        return Decision(
            True, self._record["evaluated"] and (evaluate or not last), save or not last
        )


class Timed:
    """A step-to-factor function of torch's ``LambdaLR``, asked at a course's effective step.

    ``LambdaLR`` keeps ``__dict__`` of such an object in its checkpoints and updates it from them:
    so that is the course's state, and the rest is in slots.
    """

    __slots__ = ("__dict__", "_course", "_inner")

    def __init__(self, inner: Callable[[float], float], course: Course) -> None:
        self._inner, self._course = inner, course
        self.__dict__ = course.state

    def __call__(self, step: int) -> float:
        """The factor after ``step`` steps."""
        return self._inner(self._course.effective(step))


def rung_steps(rungs: Sequence[float], planned: int, every: int = 0) -> list[int]:
    """The steps at which a trial is held against others.

    Args:
        rungs: shares of all steps.
        planned: all steps.
        every: steps between two evaluations; a rung is put where the nearest is, so that no
            training of the same recipe lacks it. That is never the last step or one behind it.
    """
    found = []
    for share in rungs:
        step = max(1, round(share * planned))
        if 0 < every <= min(step, planned - 1):
            step = every * min(round(step / every), (planned - 1) // every)
        found.append(step)
    return found


def push(progress: float, taken: float, left: float) -> float:
    """Progress after ``taken`` seconds, when 1 is due ``left`` seconds from now."""
    if left <= 0:
        return 1.0
    return progress + (1 - progress) * taken / (taken + left)


def effective(step: int, progress: float, planned: int) -> float:
    """The later of a step and a progress in steps; the whole number while it is not behind."""
    # Not always the product: it may be a bit off, and all later weights with it.
    return step if progress <= step / planned else progress * planned


def record(course: Course, planned: int, stop: int, evaluated: bool) -> dict[str, Any]:
    """What to follow to make the same steps again.

    Args:
        course: who decided.
        planned: steps that were planned.
        stop: steps that were made.
        evaluated: whether an evaluation came after the last one.
    """
    pressed = [[step, progress] for step, progress in course.state["pressed"] if step <= stop]
    return {"planned": planned, "stop": stop, "evaluated": evaluated, "pressed": pressed}


def matters(made: dict[str, Any], evaluates: bool) -> bool:
    """Whether the clock made a difference to a run, given its record.

    Args:
        made: the record.
        evaluates: whether a run of all steps ends with an evaluation.
    """
    cut = made["stop"] < made["planned"]
    return cut or bool(made["pressed"]) or made["evaluated"] != evaluates


def read(path: Path) -> dict[str, Any]:
    """A record from its file.

    Raises:
        ValueError: it is not one.
    """
    # JSON gives floats back to the last bit, so the learning rates are the same.
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or found.keys() != {"planned", "stop", "evaluated", "pressed"}:
        raise ValueError(f"{path}: not a {FILE}")
    return found


def cut_off(step: int, total: int) -> str:
    """What a user is told of a training that the clock stopped."""
    return f"the budget ended training at step {step} of {total}"


def no_step_fits(allowance: Allowance, ending: float) -> str:
    """What a user is told when start-up left no time for a step.

    Args:
        allowance: of training.
        ending: seconds that saving and ending take.
    """
    # Rounded apart: figures that do not fit must not look as if they did.
    return (
        f"no step fits: {math.ceil(allowance.elapsed())} s went by until training could begin, "
        f"saving and ending take {math.ceil(ending)} s, and budget.hours leaves "
        f"{int(allowance.limit)} s for training; raise budget.hours or lower budget.reserve_minutes"
    )
