"""Two runs side by side."""

import shutil
from pathlib import Path

import pytest

from tests.tiny import make_run
from tests.tools.report.conftest import ARCH, build
from tools.files import read_json, write_json
from tools.report.gathered.judged.versus import ABSENT, differences, versus
from tools.report.gathered.source import Missing, Source
from tools.run.folder import Run


@pytest.fixture
def other(tmp_path: Path) -> Run:
    """The same but for one key; base and tuned have changed places in one scenario's answers."""
    train = {"adapter": "lora", "learning_rate": 5e-4}
    return build(tmp_path / "others", name="before", train=train)


def test_what_changed_in_the_recipe_is_told_by_key() -> None:
    old, new = {"a": {"b": 1, "c": [1]}, "gone": 2}, {"a": {"b": 2, "c": [1, 2]}, "came": None}
    found = {each["key"]: (each["before"], each["after"]) for each in differences(old, new)}
    assert found == {
        "a.b": (1, 2),
        "a.c[1]": (ABSENT, 2),
        "came": (ABSENT, None),
        "gone": (2, ABSENT),
    }
    assert differences(new, new) == []


def test_recipe_and_scores_of_two_runs(whole: Run, other: Run) -> None:
    folder = next(other.output("eval_tuned").glob("**/oneday:skill*"))
    stats = read_json(folder / "per_instance_stats.json")
    for entry in stats:
        entry["stats"][0]["mean"] = 0.0
    write_json(folder / "per_instance_stats.json", stats)
    found = versus(Source(whole, (), Source(other)))
    assert (found["run"], found["with"]) == ("tiny", "before")
    (change,) = found["recipe"]
    assert change == {"key": "train.learning_rate", "before": 5e-4, "after": 1e-3}
    by_name = {each["scenario"]: each for each in found["scenarios"]}
    counting, mmlu = by_name["oneday: counting"], by_name["mmlu"]
    assert (counting["gained"], counting["lost"], counting["verdict"]) == (7, 0, "better")
    assert counting["difference"] == 7 / 8 and counting["intervals"]["difference"][0] > 0
    assert (mmlu["gained"], mmlu["lost"], mmlu["questions"], mmlu["difference"]) == (0, 0, 6, 0)
    figures = {each["figure"]: (each["before"], each["after"]) for each in found["figures"]}
    assert figures["steps"] == (60, 60) and figures["perplexity, quantized"] == (1.6, 1.6)


def test_an_id_that_stands_for_another_question_is_not_shared(whole: Run, other: Run) -> None:
    folder = next(other.output("eval_tuned").glob("**/mmlu:subject=law*"))
    states = read_json(folder / "scenario_state.json")
    for state in states["request_states"]:
        state["instance"]["input"]["text"] = "Another?"
    write_json(folder / "scenario_state.json", states)
    found = versus(Source(whole, (), Source(other)))
    assert found["not_shared"] == ["mmlu:subject=law"]
    assert {each["scenario"]: each["questions"] for each in found["scenarios"]}["mmlu"] == 4


def test_a_run_that_was_not_evaluated_still_has_its_recipe(whole: Run, other: Run) -> None:
    shutil.rmtree(other.path / "eval")
    found = versus(Source(whole, (), Source(other)))
    assert found["scenarios"] == [] and len(found["not_shared"]) == 3 and found["recipe"]


def test_no_other_run_and_a_run_of_nothing(whole: Run, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no other run"):
        versus(Source(whole))
    nothing = make_run(tmp_path / "none", name="none", model__arch=ARCH)
    found = versus(Source(whole, (), Source(nothing)))
    assert {each["before"] for each in found["figures"]} == {None}
