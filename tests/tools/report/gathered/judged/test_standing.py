"""This run among a pool."""

from pathlib import Path

import pytest

from tests.tiny import make_run
from tests.tools.report.conftest import ARCH, evaluate, make_rows
from tools.errors import UserError
from tools.files import write_json
from tools.report.drawn import judged
from tools.report.drawn.html import join
from tools.report.gathered.judged.standing import standing
from tools.report.gathered.source import Missing, Source
from tools.run.folder import Run


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    rows = [
        {"entry": name, "metrics": {"MMLU - EM": value, "GSM8K - EM": value / 2}}
        for name, value in (("first", 0.9), ("second", 0.3))
    ]
    path = tmp_path / "published.json"
    write_json(path, {"source": "nobody", "track": "4090", "entries": rows})
    return path


def test_this_run_is_marked_in_the_pool(whole: Run, pool: Path) -> None:
    found = standing(Source(whole, (pool,)))
    entries = {each["entry"]: each for each in found["entries"]}
    assert list(entries) == ["first", "second", "tiny tuned", "tiny base"]
    assert [name for name, each in entries.items() if each["mine"]] == ["tiny tuned", "tiny base"]
    rates = [entries[name]["mean_win_rate"]["MMLU"] for name in entries]
    first, second, tuned, base = rates
    assert first > tuned > second > base >= 0
    assert found["ranked_by"] == "open" and found["notes"]
    assert entries["tiny tuned"]["interval"]["open"] and found["pool"] == ["published.json"]
    assert found["gains"]["entry"] == "tiny tuned"
    assert {each["scenario"] for each in found["gains"]["scenarios"]} >= {"MMLU"}


def test_without_a_pool_it_is_the_runs_beside(whole: Run) -> None:
    other = make_run(whole.path.parent, name="yesterday", model__arch=ARCH)
    make_rows(other)
    evaluate(other, "base", {"mmlu:subject=law": ([1, 0], [])})
    found = standing(Source(whole))
    names = {each["entry"]: each["mine"] for each in found["entries"]}
    assert names == {"tiny base": True, "tiny tuned": True, "yesterday base": False}


def test_nothing_that_the_challenge_scores(tmp_path: Path) -> None:
    run = make_run(tmp_path, model__arch=ARCH)
    make_rows(run)
    evaluate(run, "base", {"oneday:skill=counting": ([1, 0], [])})
    with pytest.raises(Missing, match="no scenario that the challenge scores") as caught:
        standing(Source(run))
    assert caught.value.target == "eval TIER=open"


QUICK = {"oneday:skill=counting": ([1, 0], [1, 1]), "simple_mcqa": ([0, 0], [1, 0])}


def test_a_run_of_other_questions_is_compared_on_what_is_shared(tmp_path: Path, pool: Path) -> None:
    run = make_run(tmp_path, model__arch=ARCH)
    make_rows(run)
    for who in ("base", "tuned"):
        evaluate(run, who, QUICK)
    found = standing(Source(run, (pool,)))
    entries = {each["entry"]: each for each in found["entries"]}
    assert not found["scored"] and found["ranked_by"] == "open"
    assert entries["first"]["rank"]["open"] == 1 and not found["gains"]["scenarios"]
    assert entries["tiny tuned"]["score"]["open"] is None and entries["tiny tuned"]["mine"]
    others = {name: entries[name]["other"] for name in ("tiny tuned", "tiny base", "first")}
    assert others == {
        "tiny tuned": {"oneday": 0.5, "simple_mcqa": 0.5},
        "tiny base": {"oneday": 0.0, "simple_mcqa": 0.0},
        "first": {},
    }
    markup = join(judged.ranking(found))
    assert "are not the board&#x27;s" in markup and "scenarios of neither stage" in markup
    alone = standing(Source(run))
    assert alone["ranked_by"] is None and "neither stage" in join(judged.ranking(alone))


def test_a_pool_that_is_not_there_is_a_fault(whole: Run) -> None:
    with pytest.raises(UserError, match="no such file"):
        standing(Source(whole, (whole.path / "nowhere.json",)))
