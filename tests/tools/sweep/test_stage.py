"""The stage with a script in the trainer's place: what is made, shared, kept, handed over."""

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import recipe
from tests.tools.sweep.sweeping import BEST, RATES, SWEEP, Sweeping, loss
from tests.tools.sweep.trainers import ADAPTER, Script
from tools.errors import StageError, UserError
from tools.recipe.answer import FILE
from tools.recipe.load import Loaded
from tools.recipe.schema import Axis, Soup
from tools.run.folder import Run
from tools.run.souped import MEMBERS
from tools.sweep import stage, trial


@pytest.fixture
def sweeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweeping:
    return Sweeping(tmp_path, SWEEP, monkeypatch)


def test_the_winner_is_told_kept_and_handed_over(
    sweeping: Sweeping, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sweeping.sweep(Script(loss))
    assert found["values"] == {"train.learning_rate": BEST}
    assert (found["trials"], found["step"], found["stopped"]) == (6, 20, None)
    begun = sweeping.winner().unfinished("train") / "checkpoint-20"
    assert (begun / ADAPTER).read_text() == "20 steps"
    assert not list(sweeping.place.glob("*/.adapter.*")), "the others' checkpoints take no room"
    assert "training goes on from its step 20" in capsys.readouterr().out
    trials = json.loads((sweeping.run.path / "sweep" / stage.TABLE).read_text())["trials"]
    assert {one["values"]["train.learning_rate"] for one in trials} == set(RATES)
    assert sweeping.run.done("sweep")


def test_what_each_trial_used_and_whether_it_is_the_recipes_own_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeping = Sweeping(tmp_path, SWEEP, monkeypatch)

    def slow(train: dict[str, Any], step: int) -> float:
        time.sleep(0.1)
        return loss(train, step)

    sweeping.sweep(Script(slow))
    folder = sweeping.run.path / "sweep"
    told = json.loads((folder / stage.TABLE).read_text())
    seconds = json.loads((folder / stage.SPENT).read_text())["seconds"]
    assert {len(one["told"]) for one in told["trials"]} == {1, 2}
    for one in told["trials"]:
        used = seconds[str(one["number"])]
        assert len(used) == len(one["told"]) and used == sorted(used)
        assert 0.1 <= used[0] < 5 and (len(used) == 1 or used[1] - used[0] > 0.05)
    own = told["trials"][told["own"]]["values"]
    assert own == {"train.learning_rate": sweeping.run.recipe.train["learning_rate"]}


def test_the_next_best_at_the_last_rung_are_left_to_a_soup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeping = Sweeping(tmp_path, dataclasses.replace(SWEEP, keep=2, rungs=1), monkeypatch)
    sweeping.run = Run(dataclasses.replace(sweeping.run.recipe, soup=Soup(trials=2)), tmp_path)
    found = sweeping.sweep(Script(loss))
    trials = json.loads((sweeping.run.path / "sweep" / stage.TABLE).read_text())["trials"]
    ended = [one for one in trials if one["state"] == "done" and one["number"] != found["winner"]]
    wanted = sorted(ended, key=lambda one: (one["told"][-1], one["number"]))[:2]
    assert wanted, "no other trial came to the last rung: this test shows nothing"
    left = sorted((sweeping.run.path / "sweep" / MEMBERS).iterdir())
    assert [int(path.name) for path in left] == sorted(one["number"] for one in wanted)
    assert {(path / ADAPTER).read_text() for path in left} == {"10 steps"}
    assert not list(sweeping.place.glob("*/.adapter.*")), "checkpoints take no room all the same"
    outputs = sweeping.run.record("sweep")["outputs"]  # type: ignore[index]
    assert f"{MEMBERS}/{left[0].name}/{ADAPTER}" in outputs


@pytest.mark.parametrize("aside", [False, True])
def test_an_adapter_that_is_finished_is_not_written_over(sweeping: Sweeping, aside: bool) -> None:
    """Of the winner's values, made before the sweep; aside where another recipe was made since."""
    before = sweeping.compose({"train.learning_rate": BEST})
    run = Run(dataclasses.replace(before.recipe, sweep=None), sweeping.run.path.parent)
    with run.produce("train", resume=True) as work:
        (work.folder / ADAPTER).write_text("of a whole day")
        work.note(steps=77)
    place = run.output("train")
    if aside:
        place = place.rename(run.unfinished("train"))
    assert sweeping.sweep(Script(loss))["step"] == 77
    assert (place / ADAPTER).read_text() == "of a whole day"
    assert aside or not run.unfinished("train").exists(), "it would stand in the finished one's way"


def test_a_second_call_finds_all_made(sweeping: Sweeping) -> None:
    sweeping.sweep(Script(loss))
    again = Script(loss)
    assert sweeping.sweep(again)["values"] == {"train.learning_rate": BEST}
    assert again.calls == 0


def test_trials_of_other_rows_share_them_with_their_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = {
        "train.learning_rate": Axis(values=[1e-3, 3e-3]),
        "data.order": Axis(values=["shuffled", "listed"]),
    }
    sweeping = Sweeping(tmp_path, dataclasses.replace(SWEEP, axes=axes, trials=4), monkeypatch)
    sweeping.sweep(Script(loss))
    assert sweeping.made == 1, "one folder of rows for two trials"
    orders = [(folder / "data" / "train.jsonl").read_text() for folder in sweeping.place.glob("0*")]
    assert sorted(orders) == ["listed", "listed", "shuffled", "shuffled"]
    tokens = {(folder / "tokens").resolve() for folder in sweeping.place.glob("0*")}
    assert tokens == {(sweeping.run.path / "tokens").resolve()}


def test_other_held_out_rows_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that ``check`` refuses as an axis, as operators may be that it cannot know of."""
    axes = {"data.shots": Axis(values=[1, 3])}
    sweep = dataclasses.replace(SWEEP, axes=axes, trials=2, rungs=1)
    sweeping = Sweeping(tmp_path, sweep, monkeypatch)
    assert sweeping.sweep(Script(lambda train, step: 1.0))["values"] == {"data.shots": 3}
    trials = json.loads((sweeping.run.path / "sweep" / stage.TABLE).read_text())["trials"]
    (broken,) = [one for one in trials if one["reason"]]
    assert broken["reason"] == "shots=1 holds out other rows: no loss compares them"


def test_a_loss_that_breaks_is_one_trials_end(sweeping: Sweeping) -> None:
    def broken(train: dict[str, Any], step: int) -> float:
        return math.nan if train["learning_rate"] > 5e-3 else loss(train, step)

    found = sweeping.sweep(Script(broken))
    assert (found["broken"], found["values"]) == (2, {"train.learning_rate": BEST})


def test_a_full_disk_is_no_trials_fault(sweeping: Sweeping) -> None:
    class Full(Script):
        def call(self, *words: Any, **how: Any) -> None:
            if self.calls == 2:
                raise StageError("axolotl train: OSError: [Errno 28] No space left on device")
            super().call(*words, **how)

    with pytest.raises(StageError, match="No space left"):
        sweeping.sweep(Full(loss))
    found = sweeping.sweep(Script(loss))
    assert (found["trials"], found["broken"]) == (6, 0)


def test_where_every_trial_breaks_the_stage_fails(sweeping: Sweeping) -> None:
    with pytest.raises(StageError, match=r"sweep: no trial came to a rung: loss became nan"):
        sweeping.sweep(Script(lambda train, step: math.nan))
    assert not sweeping.run.done("sweep")
    found = sweeping.sweep(Script(loss))  # the card was another's, say, and now is free
    assert (found["broken"], found["values"]) == (0, {"train.learning_rate": BEST})


class Killed(BaseException):
    """As ``kill -9``: nothing is put in order."""


@pytest.mark.parametrize("seeds", [1, 3])
def test_killed_at_any_event_it_ends_the_same(
    seeds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = dataclasses.replace(SWEEP, seeds=seeds)
    alone = Sweeping(tmp_path / "alone", sweep, monkeypatch)
    alone.sweep(Script(loss))
    killed, events, kills = Sweeping(tmp_path / "killed", sweep, monkeypatch), 0, 0

    class Dying(Script):
        def call(self, *words: Any, **how: Any) -> None:
            *others, heard = words

            def dying(event: dict[str, Any]) -> None:
                nonlocal events
                events += 1
                if events % 4 == 0:
                    raise Killed  # before it is heard
                heard(event)
                if events % 7 == 0:
                    raise Killed

            trainer, run, command, config, over = others
            super().call(trainer, run, command, config, over, dying, **how)

    while True:
        try:
            killed.sweep(Dying(loss))
            break
        except Killed:
            kills += 1
    assert kills >= 5
    for name in (FILE.name, stage.TABLE):
        mine, other = (one.run.path / "sweep" / name for one in (alone, killed))
        assert mine.read_text() == other.read_text() or name == FILE.name
    assert killed.winner().unfinished("train").name == alone.winner().unfinished("train").name
    assert (killed.winner().unfinished("train") / "checkpoint-20" / ADAPTER).is_file()


def test_when_its_share_is_over_the_best_so_far_wins(
    sweeping: Sweeping, capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow(Script):
        def call(self, *words: Any, **how: Any) -> None:
            if self.calls == 3:
                raise trial.child.Overdue("too long")
            super().call(*words, **how)

    found = sweeping.sweep(Slow(loss))
    assert found["stopped"] == "time" and found["trials"] == 4
    assert "its share of the day is over after 3 trials" in capsys.readouterr().out


def test_with_no_time_at_all_nothing_is_found(sweeping: Sweeping) -> None:
    with pytest.raises(StageError, match=r"time was over before the first one; raise sweep.share"):
        sweeping.sweep(Script(loss), limit=0.0)


def test_a_trial_that_check_refuses_is_not_trained(
    sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[[Loaded], list[Any]] = trial.check

    def check(loaded: Loaded) -> list[Any]:
        found = real(loaded)
        if loaded.recipe.train["learning_rate"] == 1e-4:
            fault = dataclasses.replace(found[0], verdict="fail", message="too low", remedy="more")
            return [*found, fault]
        return found

    monkeypatch.setattr(trial, "check", check)
    script = Script(loss)
    assert sweeping.sweep(script)["broken"] == 1
    assert script.calls == 5


def test_what_a_user_went_past_by_force_stops_no_trial(
    sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[[Loaded], list[Any]] = trial.check

    def check(loaded: Loaded) -> list[Any]:
        found = real(loaded)
        said = f"too large at {loaded.recipe.train['learning_rate']}"
        return [*found, dataclasses.replace(found[0], verdict="fail", message=said)]

    monkeypatch.setattr(trial, "check", check)
    assert sweeping.sweep(Script(loss))["broken"] == 0


def test_a_recipe_without_a_sweep_is_told_how_to_write_one() -> None:
    with pytest.raises(UserError, match=r"tiny: the recipe has no sweep; .*docs/sweep.md"):
        stage.of(recipe())


def test_what_fits_in_no_time_is_told(sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = dataclasses.replace(SWEEP, first=0.0)
    short = Sweeping(sweeping.run.path.parent / "short", sweep, monkeypatch)
    monkeypatch.setattr(stage, "plan", lambda recipe, runs: None)
    monkeypatch.setattr(stage, "seconds", lambda found: (1.0, 100.0))
    with pytest.raises(UserError, match=r"too short for 6 trials; raise sweep.share"):
        short.sweep(Script(loss))


def test_the_recipes_own_values_are_found() -> None:
    axes = {"train.learning_rate": Axis(values=RATES), "layers": Axis(values=["", "x"])}
    own = stage.own(recipe(sweep=dataclasses.replace(SWEEP, axes=axes)))
    assert own == {"train.learning_rate": 1e-3, "layers": ""}


def test_links_are_made_once_and_follow_a_run_that_moves(tmp_path: Path) -> None:
    target = tmp_path / "run" / "data"
    name = tmp_path / "run" / "trials" / "0" / "data"
    name.parent.mkdir(parents=True)
    trial._link(name, target)
    trial._link(name, target)
    (target / "rows").write_text("x")
    with contextlib.chdir(tmp_path):
        (tmp_path / "run").rename(tmp_path / "moved")
        assert Path("moved/trials/0/data/rows").read_text() == "x"
