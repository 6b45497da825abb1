"""``python -m benchmarks.schedule`` (``make bench-schedule``): days too short for their steps.

First by simulation: a machine slowed to a third, from its start or midway; where is the learning
rate when the day ends? Then for real: the recipe is given a fraction of the time that its steps
need, once with the schedule that knows the time, once with its plain one cut off after the very
same step. Same rows, same seed, same steps; the loss on the validation rows is compared.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from tools.console import say
from tools.data.prepare import prepare
from tools.day import schedule
from tools.day.clock import Allowance
from tools.recipe.load import load
from tools.recipe.schema import Recipe
from tools.run.folder import Run, read_json, write_json
from tools.stages.train import REPLAY, train

#: Of the simulated training; at the planned speed it takes all of its day, less what ends it.
PLANNED, STEP_S, EVALUATION_S, SAVE_S, WARM_UP = 1000, 1.0, 20.0, 2.0, 30
SCHEDULES = ("cosine", "linear")
#: What a machine takes for a step, as a multiple of the planned time.
MACHINES: dict[str, Callable[[int], float]] = {
    "as planned": lambda step: 1.0,
    "a third, from the start": lambda step: 3.0,
    "a third, from midway": lambda step: 1.0 if step <= PLANNED // 2 else 3.0,
}


@dataclasses.dataclass
class Simulated:
    """How a simulated day ended.

    Attributes:
        steps: that were made.
        over: seconds by which it went over the day.
        ours: learning rate of the last step, as a share of the peak, with the time-aware schedule.
        plain: the same with the plain one.
    """

    steps: int
    over: float
    ours: float
    plain: float


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedule", description=__doc__)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/cpu.yaml"))
    parser.add_argument("--set", action="append", default=[], help="as for make, SET=")
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="for each training; default: %(default)s"
    )
    parser.add_argument("--seeds", type=int, default=3, help="real runs; default: %(default)s")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args(words)


def simulate(name: str, machine: Callable[[int], float]) -> Simulated:
    """One day on a clock that moves by what is spent.

    Args:
        name: of Hugging Face's schedule.
        machine: relative time of each step.
    """
    meter, now = schedule.Meter(0), 0.0
    meter.evaluation_steps = EVALUATION_S / STEP_S
    aside = (PLANNED // 100) * (EVALUATION_S + SAVE_S) + schedule.FINISH + 2 * SAVE_S
    day = PLANNED * STEP_S + aside + 5  # a little slack
    course = schedule.ByClock(PLANNED, meter, lambda: day - now)
    rate, effective, step = _rate(name), 0.0, 0
    for step in range(1, PLANNED + 1):
        last_rate = effective
        now += STEP_S * machine(step)
        effective = course.effective(step)
        meter.stepped(STEP_S * machine(step))
        due = step % 100 == 0
        made = course.decide(step, step == PLANNED, due, due)
        if made.evaluate:
            now += EVALUATION_S
            meter.evaluated(EVALUATION_S)
        if made.save:
            now += SAVE_S
            meter.saved(SAVE_S)
        if made.stop:
            break
    now += schedule.FINISH + 2 * SAVE_S
    return Simulated(step, max(0.0, now - day), rate(last_rate), rate(step - 1))


def _rate(name: str) -> Callable[[float], float]:
    """A schedule's own function: share of the peak rate by step."""
    import torch
    from transformers import get_scheduler

    nothing = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    made: Any = get_scheduler(name, nothing, WARM_UP, PLANNED)
    found: Callable[[float], float] = made.lr_lambdas[0]
    return found


def simulations() -> dict[tuple[str, str], Simulated]:
    """All of them, by schedule and machine."""
    return {
        (name, speed): simulate(name, machine)
        for name in SCHEDULES
        for speed, machine in MACHINES.items()
    }


def simulation_table(found: dict[tuple[str, str], Simulated]) -> str:
    """Where the learning rate is when the day ends."""
    lines = [
        [name, speed, f"{one.steps} of {PLANNED}", f"{one.plain:.1%}", f"{one.ours:.1%}",
         f"{one.over:.1f}"]
        for (name, speed), one in found.items()
    ]  # fmt: skip
    head = [
        "schedule",
        "machine",
        "steps",
        "plain: last rate",
        "ours: last rate",
        "over the day, s",
    ]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def compare(recipe: Recipe, seconds: float, root: Path) -> dict[str, Any]:
    """Train twice for real: with the time, and without it up to the same step.

    Args:
        recipe: what to train; all of its steps must take longer than the time.
        seconds: time for the first training, start-up included.
        root: where the run folders go.
    """
    timed = Run(dataclasses.replace(recipe, name=f"timed-{recipe.data.seed}"), root)
    ours = _trained(timed, seconds)
    record = read_json(timed.output("train") / schedule.FILE)
    if record is None or not record["pressed"]:
        raise SystemExit("all steps fit into the time: lower --minutes")
    plain = Run(dataclasses.replace(recipe, name=f"plain-{recipe.data.seed}"), root)
    plain.path.mkdir(parents=True)
    write_json(plain.path / REPLAY, {**record, "pressed": []})
    theirs = _trained(plain, seconds)
    return {
        "seed": recipe.data.seed,
        "steps": record["stop"],
        "planned": record["planned"],
        "ours": _ending(ours),
        "plain": _ending(theirs),
    }


def _trained(run: Run, seconds: float) -> list[dict[str, Any]]:
    """A run's training log."""
    with run.lock():
        prepare(run)
        log: list[dict[str, Any]] = train(run, Allowance(time.monotonic(), 0.0, seconds))["log"]
    return log


def _ending(log: list[dict[str, Any]]) -> dict[str, float]:
    """Last learning rate as a share of the highest, and last loss on the validation rows."""
    rates = [entry["learning_rate"] for entry in log if "learning_rate" in entry]
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    return {"rate": rates[-1] / max(rates), "loss": losses[-1]}


def table(found: list[dict[str, Any]]) -> str:
    """Both endings side by side, a line a seed."""
    lines = [
        [one["seed"], f"{one['steps']} of {one['planned']}",
         f"{one['plain']['rate']:.1%}", f"{one['ours']['rate']:.1%}",
         f"{one['plain']['loss']:.4f}", f"{one['ours']['loss']:.4f}",
         f"{one['ours']['loss'] - one['plain']['loss']:+.4f}"]
        for one in found
    ]  # fmt: skip
    head = ["seed", "steps", "plain: last rate", "ours", "plain: validation loss", "ours", "gained"]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def main(words: Sequence[str] | None = None) -> int:
    """Simulates, trains and prints; 1 when ours ends worse with some seed."""
    args = parse_arguments(sys.argv[1:] if words is None else words)
    simulated = simulations()
    say(simulation_table(simulated) + "\n")
    recipe, found = load(args.recipe, args.set).recipe, []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(recipe.data.seed, recipe.data.seed + args.seeds):
            data = dataclasses.replace(recipe.data, seed=seed)
            one = dataclasses.replace(recipe, data=data)
            found.append(compare(one, 60 * args.minutes, Path(folder)))
    if found:
        say(f"\n{args.recipe.name}, {args.minutes:g} minutes a training\n\n{table(found)}")
    if args.json:
        plain = {", ".join(key): dataclasses.asdict(one) for key, one in simulated.items()}
        figures = {"simulated": plain, "trained": found}
        args.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0 if all(one["ours"]["loss"] < one["plain"]["loss"] for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
