"""The database behind a sweep: what is told twice, whose trials are whose, one that cannot be."""

import dataclasses
import math
from pathlib import Path

import pytest

from tools.errors import StageError, UserError
from tools.recipe.schema import Axis, Sweep
from tools.sweep.study import Study, reachable

SWEEP = Sweep({"train.lora_r": Axis(values=list(range(1, 28)))}, keep=3, rungs=2)


def test_what_was_told_once_is_not_told_otherwise_later(tmp_path: Path) -> None:
    study = Study(SWEEP, f"sqlite:///{tmp_path}/a.db", "a")
    first = study.next()
    assert first is not None
    assert study.tell(first.number, 0, 2.0)
    again = Study(SWEEP, f"sqlite:///{tmp_path}/a.db", "a")
    assert again.tell(first.number, 0, 9.0), "as after a kill, from an earlier checkpoint"
    assert again.trials()[0].told == (2.0,)
    assert not again.tell(first.number, 1, 1.5)
    assert again.trials()[0].state == "done"


def test_one_database_keeps_several_sweeps_apart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    one, other = Study(SWEEP, url, "one"), Study(SWEEP, url, "other")
    one.next()
    assert (len(one.trials()), len(other.trials())) == (1, 0)
    assert one.note("rungs", [0.1]) == [0.1] and one.note("rungs", [0.2]) == [0.1]
    assert other.note("rungs", [0.3]) == [0.3]


def test_only_the_best_go_on() -> None:
    study = Study(SWEEP, "sqlite://", "a")
    went = []
    for loss in (3.0, 4.0, 2.0, 5.0, 2.5, 1.0):
        trial = study.next()
        assert trial is not None
        went.append(study.tell(trial.number, 0, loss))
        if went[-1]:
            study.tell(trial.number, 1, loss / 2)
    assert went == [True, False, True, False, False, True]
    best = study.best()
    assert best is not None and (best.number, best.told) == (5, (1.0, 0.5))


def test_a_trial_that_broke_is_behind_all_others() -> None:
    study = Study(SWEEP, "sqlite://", "a")
    study.next()
    study.lose(0, "no memory")
    assert study.best() is None
    study.next()
    assert study.tell(1, 0, 7.0), "an infinite loss beats nobody"
    assert study.best() == study.trials()[1]
    assert math.isinf(study.trials()[0].told[0])


@pytest.mark.parametrize("url", ["nosuch://host/name", "sqlite:////nowhere/at/all/a.db"])
def test_a_database_that_cannot_be_used_is_told(url: str) -> None:
    with pytest.raises(UserError, match=r"^sweep.database: .*leave the key out"):
        Study(dataclasses.replace(SWEEP, database=url), url, "a")


def test_a_file_of_the_run_folder_that_is_damaged_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("no database " * 100)
    with pytest.raises(UserError, match=r"study.db: .*remove the file: then .* made anew"):
        Study(SWEEP, f"sqlite:///{tmp_path}/study.db", "a")


def test_a_database_that_is_lost_on_the_way_is_told(tmp_path: Path) -> None:
    study = Study(SWEEP, f"sqlite:///{tmp_path}/study.db", "a")
    study.next()
    (tmp_path / "study.db").write_text("no database " * 1000)
    study._stored._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    said = r"^sweep.database: .*the same command goes on"
    with pytest.raises(StageError, match=said), reachable():
        study.tell(0, 0, 1.0)


def test_trials_are_forgotten_only_where_each_one_broke() -> None:
    study = Study(dataclasses.replace(SWEEP, trials=2), "sqlite://", "a")
    for number in range(2):
        study.begin_anew()
        study.next()
        study.lose(number, "no memory")
    assert len(study.trials()) == 2
    study.begin_anew()
    assert study.trials() == []
    study.next()
    study.tell(0, 0, 1.0)
    study.begin_anew()
    assert len(study.trials()) == 1
