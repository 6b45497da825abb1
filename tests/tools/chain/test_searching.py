"""The sweep among the stages: made once where it is missing, its winner in what comes after."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from tools.chain import searching
from tools.day import budget
from tools.errors import UserError
from tools.recipe.answer import FILE, question
from tools.recipe.load import Loaded
from tools.recipe.verbs import as_written
from tools.run.folder import SWEEP, Run

AXES = "sweep: {trials: 2, rungs: 1, share: 0.5, axes: {train.lora_r: {values: [8, 64]}}}\n"


@pytest.fixture
def args(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    recipe = tmp_path / "my.yaml"
    recipe.write_text(f"defaults: [cpu]\n{AXES}")
    monkeypatch.setattr("tools.chain.ahead.look", lambda run, missing: None)
    monkeypatch.setattr("tools.chain.stages.run_missing", lambda loaded, runs, last: [])
    monkeypatch.setattr("tools.base_model.folder.local_folder", lambda model: tmp_path)
    monkeypatch.setattr("tools.run.provenance.model_files", lambda model: {})
    return argparse.Namespace(recipe=str(recipe), hw="cpu", set=[], runs=str(tmp_path / "runs"))


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that each search was given."""
    made: list[float] = []

    def sweep(run: Run, compose: Any, make: Any, allowance: Any) -> None:
        made.append(allowance.limit)
        assert compose({"train.lora_r": 64}).recipe.train["lora_r"] == 64
        assert budget.holder(run), "the run folder is held"
        with run.produce(SWEEP) as work:
            found = {"question": question(run.recipe), "work": run.fingerprint(SWEEP), "trial": 1}
            text = json.dumps({**found, "values": {"train.lora_r": 64}})
            (work.folder / FILE.name).write_text(text)

    monkeypatch.setattr("tools.sweep.stage.sweep", sweep)
    return made


def rank(loaded: Loaded) -> Any:
    return loaded.recipe.train["lora_r"]


def test_it_is_made_once_and_charged(
    args: argparse.Namespace, searches: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert rank(searching.found(args)) == 64
    assert searches == [0.5 * 59.4 * 60], "half of an hour less the reserve"
    assert "sweep: 0:29:42 of the day for 2 trials" in capsys.readouterr().out
    assert rank(searching.found(args)) == 64
    assert len(searches) == 1
    assert "sweep: up to date" in capsys.readouterr().out
    (interval,) = budget.clock(Run(as_written(args).recipe, Path(args.runs))).intervals()
    assert (interval.stage, interval.ended) == (SWEEP, True)
    assert budget.day(Run(searching.found(args).recipe, Path(args.runs))).others == 0


def test_another_question_is_another_search(
    args: argparse.Namespace, searches: list[float]
) -> None:
    searching.found(args)
    args.set = ["train.weight_decay=0.1"]
    searching.found(args)
    assert len(searches) == 2


def test_without_a_sweep_nothing_is_searched(
    args: argparse.Namespace, searches: list[float]
) -> None:
    args.set = ["~sweep"]
    assert rank(searching.found(args)) == 16
    assert searches == []


def test_a_run_that_is_held_is_left_alone(
    args: argparse.Namespace, searches: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.run.folder._GLANCE", 0.1)
    run = Run(as_written(args).recipe, Path(args.runs))
    with budget.alone(run), pytest.raises(UserError, match="in use by process"):
        searching.found(args)
    assert searches == []
