"""A sweep of real trainings: killed and left alone it ends the same, and the winner goes on."""

import json
import random
import re
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import RECIPE, call, start, write_recipe
from tests.torture import POLL, SLACK, Witness
from tools.day.clock import HEARTBEAT, Clock
from tools.files import file_digest
from tools.rebuild.verify import verify

SWEEP = """\
sweep:
  trials: 3
  keep: 2
  rungs: 2
  first: 0.15
  share: 0.5
  seeds: 2
  axes:
    train.learning_rate: {log: [1e-3, 3e-2]}
    data.sources.boxes.weight: {values: [1.0, 2.0]}
"""
KILLS = 3
ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe with a sweep; ``RECIPE`` names no section of that name."""
    assert "sweep" not in RECIPE
    file = write_recipe(tmp_path_factory.mktemp("my sweeps"))
    file.write_text(file.read_text() + SWEEP, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def swept(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a sweep that nobody disturbed."""
    runs = tmp_path_factory.mktemp("runs")
    done = call("sweep", recipe, runs)
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"sweep: trial \d wins, .* training goes on from its step 20", done.stdout)
    return runs / "tiny"


def trials(run: Path) -> str:
    return (run / "sweep" / "trials.json").read_text()


def begun(run: Path) -> str:
    """The hash of the adapter that training goes on with."""
    (file,) = run.glob(f".adapter.*.partial/checkpoint-20/{ADAPTER}")
    return file_digest(file)


@pytest.fixture(scope="module")
def handed_over(swept: Path) -> str:
    """The hash of the winner's adapter, as the sweep left it; training takes it away later."""
    return begun(swept)


def test_trials_share_all_above_them_and_leave_their_logs(swept: Path) -> None:
    (place,) = (swept / "trials").iterdir()
    folders = sorted(path for path in place.iterdir() if path.name.isdigit())
    table = json.loads(trials(swept))
    told = table["trials"]
    again = 2 if [one["state"] for one in told].count("done") > 1 else 0
    assert len(told) == 3 and len(folders) == 3 + again
    assert ("seeds" in table) == bool(again)
    for folder in folders:
        assert (folder / "recipe.yaml").is_file() and (folder / "logs" / "train.log").is_file()
        assert (folder / "data").is_symlink() and (folder / "data" / "train.jsonl").is_file()
        assert (folder / "tokens").resolve() == (swept / "tokens").resolve()
        assert not list(folder.glob(".adapter.*")), "what was beaten takes no room"
    for rows in (swept / "tokens").glob("*/prepared"):
        assert len([path for path in rows.iterdir() if path.is_dir()]) == 2, "train, validation"
    assert told[0]["values"]["train.learning_rate"] == 0.01, "the recipe itself comes first"
    assert verify(swept) == []


def test_who_came_to_the_top_is_trained_with_another_seed(swept: Path) -> None:
    table = json.loads(trials(swept))
    if "seeds" not in table:
        pytest.skip("one trial alone came to the last rung: see tests/tools/sweep/test_seeds.py")
    seeds = table["seeds"]
    assert seeds["seeds"][1] == seeds["seeds"][0] + 1
    for one in seeds["finalists"]:
        first, second = one["eval_loss"]
        assert first == table["trials"][one["trial"]]["told"][-1] != second
    winner, other = (one["mean"] for one in seeds["finalists"])
    assert winner <= other and seeds["gain"] == other - winner


def test_the_winner_goes_on_and_ends_as_if_it_had_been_alone(
    recipe: Path, swept: Path, handed_over: str
) -> None:
    answer = json.loads((swept / "sweep" / "answer.json").read_text())
    going = call("train", recipe, swept.parent)
    assert going.returncode == 0, going.stdout[-4000:]
    assert "sweep: up to date" in going.stdout and "train: going on from step 20" in going.stdout
    plain = recipe.with_name("plain.yaml")
    plain.write_text(recipe.read_text().replace(SWEEP, ""), encoding="utf-8")
    sets = [f"{key}={value}" for key, value in answer["values"].items()]
    alone = call("train", plain, swept.parent, *sets)
    assert alone.returncode == 0, alone.stdout[-4000:]
    mine, other = (swept.parent / name / "adapter" / ADAPTER for name in ("tiny", "plain"))
    assert file_digest(mine) == file_digest(other) != handed_over
    assert verify(swept) == []
    shown = call("show", recipe, swept.parent).stdout
    assert f"# sweep, trial {answer['trial']}" in shown
    clock = call("clock", recipe, swept.parent).stdout
    assert re.search(r"^  sweep +0:0\d:", clock, re.MULTILINE), clock


def test_killed_again_and_again_it_ends_as_one_left_alone(
    recipe: Path, swept: Path, handed_over: str, tmp_path: Path
) -> None:
    ledger, rng = tmp_path / "runs" / "tiny" / "clock.jsonl", random.Random(7)
    witness, kills, lost = Witness(ledger), 0, []
    while kills < KILLS:
        process = start("sweep", recipe, tmp_path / "runs")
        due = time.monotonic() + 1e6
        while process.poll() is None and time.monotonic() < due:
            witness.look()
            if due > time.monotonic() + 1e5 and witness.present[0] == "sweep":
                due = time.monotonic() + rng.uniform(2, 14)
            time.sleep(POLL)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        witness.killed(time.monotonic())
        process.communicate()
        kills += 1
        lost.append(list(witness.seconds.values())[-1] - Clock(ledger).intervals()[-1].seconds)
    assert kills >= 2, "it was over too soon to be killed"
    done = call("sweep", recipe, tmp_path / "runs")
    assert done.returncode == 0, done.stdout[-4000:]
    assert all(-SLACK < seconds < HEARTBEAT + SLACK for seconds in lost), lost
    assert trials(tmp_path / "runs" / "tiny") == trials(swept)
    assert begun(tmp_path / "runs" / "tiny") == handed_over
