"""A sweep of the stage's own, with a script in the trainer's place."""

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_run
from tests.tools.sweep.trainers import Script
from tools.day.clock import Allowance
from tools.recipe.answer import FILE
from tools.recipe.load import Loaded
from tools.recipe.schema import Axis, Sweep
from tools.run.folder import Run
from tools.sweep import stage, trial
from tools.sweep.space import Values

RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
SWEEP = Sweep(
    {"train.learning_rate": Axis(values=RATES)},
    trials=6,
    keep=2,
    rungs=2,
    first=0.1,
    sampler="grid",
)
BEST = 3e-3


def loss(train: dict[str, Any], step: int) -> float:
    return 1 + abs(math.log(train["learning_rate"] / BEST)) + 1 / step


class Sweeping:
    """A run with rows, and what its sweep is made with."""

    def __init__(self, root: Path, sweep: Sweep, patch: pytest.MonkeyPatch) -> None:
        self.run = make_run(root, sweep=sweep, eval__threads=1)
        self.run.path.mkdir(parents=True, exist_ok=True)
        make_rows(self.run, "data")
        self.patch, self.made = patch, 0

    def compose(self, values: Values) -> Loaded:
        made = dataclasses.replace(self.run.recipe)
        for key, value in values.items():
            section, name = key.split(".")
            if section == "train":
                made = dataclasses.replace(made, train={**made.train, name: value})
            else:
                made = dataclasses.replace(
                    made, data=dataclasses.replace(made.data, **{name: value})
                )
        return Loaded(made, {}, [])

    def make(self, run: Run, name: str) -> None:
        self.made += 1
        make_rows(run, name)

    def sweep(self, script: Script, limit: float = 1000.0) -> dict[str, Any]:
        self.patch.setattr(trial.child, "call", script.call)
        self.patch.setattr(trial.base_model, "local_folder", lambda model: Path("base"))
        self.patch.setattr(trial.tokens, "files", lambda run, base: {})
        return stage.sweep(
            self.run, self.compose, self.make, Allowance(time.monotonic(), 0.0, limit)
        )

    @property
    def place(self) -> Path:
        return stage.place_of(self.run)

    def winner(self) -> Run:
        values = json.loads((self.run.path / FILE).read_text())["values"]
        made = self.compose(values).recipe
        return Run(dataclasses.replace(made, sweep=None), self.run.path.parent)


def make_rows(run: Run, name: str) -> None:
    with run.produce(name) as work:
        (work.folder / "train.jsonl").write_text(run.recipe.data.order)
        held_out = "other" if run.recipe.data.shots == 1 else "held out"
        (work.folder / "validation.jsonl").write_text(held_out)
