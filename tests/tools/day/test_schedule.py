"""What the clock decides: exact while time is plenty, at the floor on the deadline."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from tools.day import schedule
from tools.day.clock import Allowance
from tools.day.schedule import ByClock, ByRecord, Day, Decision, Meter, Timed


@dataclass
class Machine:
    """A clock that stands still but for what is spent, and a training on it."""

    limit: float
    step_seconds: Callable[[int], float]
    planned: int = 100
    evaluation: float = 0.0
    save: float = 0.0
    now: float = 0.0
    effective: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.meter = Meter(0)
        self.meter.saved(self.save)
        self.meter.evaluation_steps = float(bool(self.evaluation))
        self.course = ByClock(self.planned, self.meter, self.left)

    def left(self) -> float:
        return self.limit - self.now

    def steps(self, first: int = 1) -> Iterator[int]:
        """Train, as the trainer does: the schedule moves on before the step's end is told."""
        for step in range(first, self.planned + 1):
            taken = self.step_seconds(step)
            self.now += taken
            self.effective.append(self.course.effective(step))
            self.meter.stepped(taken)
            yield step
            made = self.course.decide(step, step == self.planned, step % 10 == 0, step % 10 == 0)
            if made.evaluate and self.evaluation:
                self.now += self.evaluation
                self.meter.evaluated(self.evaluation)
            if made.save:
                self.now += self.save
                self.meter.saved(self.save)
            if made.stop:
                self.now += schedule.FINISH + 2 * self.save
                return

    def run(self) -> int:
        """Train to the end; the last step."""
        return list(self.steps())[-1]


def constant(seconds: float) -> Callable[[int], float]:
    return lambda step: seconds


def test_a_long_day_changes_nothing() -> None:
    machine = Machine(10_000, lambda step: 60.0 if step == 1 else 1.0)  # the first step compiles
    assert machine.run() == 100
    assert machine.effective == list(range(1, 101))
    assert all(isinstance(step, int) for step in machine.effective)
    made = schedule.record(machine.course, 100, 100, True)
    assert not schedule.matters(made, True)


@pytest.mark.parametrize("seconds", [3.0, 10.0])
def test_a_slow_machine_is_at_the_floor_when_the_day_ends(seconds: float) -> None:
    machine = Machine(150, constant(seconds), evaluation=2.0, save=0.5)
    made = machine.run()
    assert 100 * 3.0 / seconds * 0.3 < made < 100 and machine.now <= 150
    assert machine.left() < 2 * seconds + 3, "time was left unused"
    progress = [step / 100 for step in machine.effective]
    assert progress == sorted(progress)
    # The rate that the last step was made with is the one after the step before it.
    assert progress[-2] > 1 - 2 / made
    assert schedule.matters(schedule.record(machine.course, 100, made, True), True)


@given(seconds=st.floats(2.0, 9.0), evaluation=st.floats(0.0, 5.0), save=st.floats(0.0, 3.0))
def test_progress_is_steps_or_time_over_what_is_allowed(
    seconds: float, evaluation: float, save: float
) -> None:
    machine = Machine(150, constant(seconds), evaluation=evaluation, save=save)
    for step in machine.steps():
        if step > 3 and machine.meter.need(100 - step) > machine.left():
            allowed = 150 - machine.meter.ending - machine.meter.longest
            timed = min(1.0, machine.now / allowed)
            assert machine.effective[-1] / 100 == pytest.approx(max(step / 100, timed), abs=0.12)


def test_a_machine_that_slows_down_to_a_third_midway() -> None:
    machine = Machine(130, lambda step: 1.0 if step <= 50 else 3.0)
    made = machine.run()
    assert machine.effective[:50] == list(range(1, 51)), "time pressed before there was need"
    assert 60 < made < 90 and machine.now <= 130
    gaps = [b - a for a, b in zip(machine.effective[:-1], machine.effective[1:-1], strict=False)]
    assert max(gaps) < 4, "the rate jumped"
    assert machine.effective[-2] > 95


@given(st.lists(st.floats(0.1, 30.0), min_size=50, max_size=50), st.floats(30.0, 400.0))
def test_neither_beyond_the_day_nor_in_reverse(taken: list[float], limit: float) -> None:
    machine = Machine(limit, lambda step: taken[step - 1], planned=50, evaluation=1.0, save=0.5)
    machine.run()
    assert machine.effective == sorted(machine.effective)
    assert all(e >= step for step, e in enumerate(machine.effective, 1))
    assert max(machine.effective) <= 50
    # Only a step longer than all before it can bring the end past the limit.
    assert machine.now <= max(limit, taken[0] + 12) + max(taken)


def test_a_resumed_run_goes_on_where_it_was() -> None:
    whole = Machine(150, constant(4.0))
    for step in whole.steps():
        if step == 12:
            break
    resumed = Machine(150, constant(4.0), now=whole.now + 20)  # start-up costs time, not progress
    resumed.course.state.update(json.loads(json.dumps(whole.course.state)))
    made = list(resumed.steps(first=13))
    assert resumed.effective[0] - whole.effective[-1] < 8
    assert resumed.effective == sorted(resumed.effective)
    assert resumed.effective[-2] > 88 and resumed.now <= 150 and made[-1] < 100


def test_an_evaluation_that_does_not_fit_is_left_out() -> None:
    meter = Meter(0)
    meter.evaluation_steps = 1
    left = 100.0
    course = ByClock(10, meter, lambda: left)
    meter.stepped(1)
    meter.evaluated(30)
    meter.saved(1)
    assert course.decide(5, False, True, True) == Decision(False, True, True)
    left = 50  # the evaluation that is due is also the last one
    assert course.decide(5, False, True, True) == Decision(True, True, True)
    assert course.decide(5, False, False, False) == Decision(False, False, False)
    left = 20
    assert course.decide(5, False, False, False) == Decision(True, False, True)
    assert course.decide(10, True, True, True) == Decision(True, False, True)


def test_nothing_is_evaluated_where_nothing_is_to_be() -> None:
    course = ByClock(10, Meter(0), lambda: Meter(0).ending - 0.1)
    assert course.decide(5, False, False, False) == Decision(True, False, True)


def test_guesses_before_anything_was_timed() -> None:
    meter = Meter(1e9)
    meter.evaluation_steps = 5
    assert meter.longest == meter.evaluation == meter.need(10) == 0
    assert meter.save == 31 and meter.ending == 31 + schedule.FINISH + 62
    meter.start_up = 100
    assert meter.finish == 100 * schedule.FINISH_SHARE + 62
    meter.stepped(40)
    assert (meter.longest, meter.evaluation, meter.need(10)) == (40, 40, 0)
    meter.stepped(2)
    assert (meter.longest, meter.evaluation, meter.need(10)) == (2, 10, 20)
    meter.saved(1)
    meter.evaluated(1)
    assert (meter.save, meter.evaluation, meter.need(10)) == (1, 1, 40)


def test_a_record_makes_the_same_steps_again() -> None:
    first = Machine(150, constant(4.0), evaluation=2.0)
    made = first.run()
    kept = json.loads(json.dumps(schedule.record(first.course, 100, made, True)))
    again = Machine(math.inf, constant(0.01), evaluation=2.0)
    again.course = ByRecord(kept)  # type: ignore[assignment]
    assert again.run() == made
    assert again.effective == first.effective
    assert schedule.record(again.course, 100, made, True) == kept


def test_a_record_of_the_whole_run() -> None:
    record = {"planned": 10, "stop": 10, "evaluated": False, "pressed": [[9, 0.95]]}
    course = ByRecord(record)
    assert course.effective(8) == 8 and course.effective(9) == 9.5
    assert course.decide(9, False, True, True) == Decision(False, True, True)
    assert course.decide(10, True, True, True) == Decision(True, False, True)
    assert schedule.matters(record, True)


def test_steps_after_a_checkpoint_are_not_in_its_record() -> None:
    course = ByRecord(
        {"planned": 10, "stop": 9, "evaluated": True, "pressed": [[5, 0.6], [7, 0.8]]}
    )
    assert schedule.record(course, 10, 6, False)["pressed"] == [[5, 0.6]]


@pytest.mark.parametrize(
    "name", ["cosine", "linear", "constant", "polynomial", "constant_with_warmup", "inverse_sqrt"]
)
def test_hugging_faces_schedules(name: str) -> None:
    """The very same floats when there is time; a later step's when there is not."""
    plain, timed = rates(name, None), rates(name, Machine(10_000, constant(1.0)))
    assert plain == timed
    if name in ("cosine", "linear", "polynomial"):
        assert rates(name, Machine(150, constant(3.0)))[45] < plain[45]


def rates(name: str, machine: Machine | None) -> list[float]:
    scheduler = lambda_lr(name)
    if machine:
        inner = scheduler.lr_lambdas
        scheduler.lr_lambdas = [Timed(one, machine.course) for one in inner]
    found = []
    for _ in range(60):
        if machine:
            machine.now += machine.step_seconds(1)
            machine.meter.stepped(machine.step_seconds(1))
        scheduler.optimizer.step()
        scheduler.step()
        found.append(scheduler.get_last_lr()[0])
    return found


def lambda_lr(name: str, groups: int = 1) -> LambdaLR:
    weights = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups)]
    made = get_scheduler(name, torch.optim.SGD(weights, lr=0.1), 5, 100)
    assert isinstance(made, LambdaLR)
    return made


def test_the_state_goes_through_a_checkpoint(tmp_path: Path) -> None:
    """As the trainer keeps it: a load takes plain values only; two groups, one state."""
    machine = Machine(150, constant(3.0))
    scheduler = lambda_lr("cosine", groups=2)
    scheduler.lr_lambdas = [Timed(one, machine.course) for one in scheduler.lr_lambdas]
    for _ in range(30):
        machine.now += 3
        machine.meter.stepped(3)
        scheduler.optimizer.step()
        scheduler.step()
    assert machine.course.state["pressed"]
    torch.save(scheduler.state_dict(), tmp_path / "scheduler.pt")
    fresh, other = lambda_lr("cosine", groups=2), Machine(150, constant(3.0))
    fresh.lr_lambdas = [Timed(one, other.course) for one in fresh.lr_lambdas]
    fresh.load_state_dict(torch.load(tmp_path / "scheduler.pt", weights_only=True))
    assert other.course.state == machine.course.state
    assert fresh.last_epoch == 30 and fresh.lr_lambdas[1].__dict__ is other.course.state
    assert len(set(fresh.get_last_lr())) == 1


def test_the_day_goes_through_the_environment() -> None:
    day = Day(Allowance(1.5, 2.0, math.inf), 900.0, "a b.json")
    assert Day.load(day.dump()) == day


def test_a_record_is_read_back(tmp_path: Path) -> None:
    made = {"planned": 9, "stop": 4, "evaluated": True, "pressed": [[3, 0.1 + 0.2]]}
    (tmp_path / "a.json").write_text(json.dumps(made))
    assert schedule.read(tmp_path / "a.json") == made
    for wrong in ("[]", '{"stop": 4}'):
        (tmp_path / "a.json").write_text(wrong)
        with pytest.raises(ValueError, match="not a schedule"):
            schedule.read(tmp_path / "a.json")


def test_what_a_day_too_short_is_told() -> None:
    said = schedule.no_step_fits(Allowance(0.0, 0.0, 36.0), 9.5)
    assert "budget.hours leaves 36 s" in said and "take 10 s" in said


def test_rungs_are_steps_on_the_nearest_evaluation() -> None:
    assert schedule.rung_steps([0.02, 0.06, 0.18], 1000) == [20, 60, 180]
    assert schedule.rung_steps([0.02, 0.06, 0.18], 1000, 50) == [20, 50, 200]
    assert schedule.rung_steps([0.0001], 1000) == [1], "one step at the least"
    assert schedule.rung_steps([0.9], 19, 10) == [10], "step 20 would never come"
    assert schedule.rung_steps([0.9], 20, 10) == [10], "and behind step 20 there is nothing left"
    assert schedule.rung_steps([0.5], 1, 1) == [1]


def test_the_rungs_of_a_trial_go_through_the_environment() -> None:
    day = Day(Allowance(1.0, 2.0, 3.0), 60.0, rungs=(0.1, 0.3))
    assert Day.load(day.dump()) == day
