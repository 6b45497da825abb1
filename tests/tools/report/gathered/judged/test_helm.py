"""What is read of HELM's files."""

from pathlib import Path
from typing import Any

import pytest

from tests.tools.report.conftest import state, write_spec
from tools.files import write_json
from tools.report.gathered.judged import helm


@pytest.mark.parametrize(
    "name, scenario",
    [
        ("oneday:skill=boxes", "oneday: boxes"),
        ("oneday:skill=boxes,max_eval_instances=9", "oneday: boxes"),
        ("mmlu:subject=law,method=multiple_choice_joint", "mmlu"),
        ("corr2cause,max_train_instances=1", "corr2cause"),
        ("gsm", "gsm"),
    ],
)
def test_what_a_run_spec_is_counted_under(name: str, scenario: str) -> None:
    assert helm.scenario(name) == scenario


def stat(name: str, mean: float | None, **more: Any) -> dict[str, Any]:
    return {"name": {"name": name, "split": "test", **more}, "mean": mean}


def test_values_are_of_the_metric_the_split_and_the_unperturbed(tmp_path: Path) -> None:
    misspelt = {"name": "misspellings"}
    entries = [
        {"instance_id": "a", "stats": [stat("em", 1.0), stat("f1", 0.5)]},
        {"instance_id": "a", "stats": [stat("em", 0.0)], "perturbation": misspelt},
        {"instance_id": "b", "stats": [stat("em", 1.0, perturbation=misspelt)]},
        {"instance_id": "b", "stats": [stat("em", 0.0)], "train_trial_index": 0},
        {"instance_id": "b", "stats": [stat("em", 1.0)], "train_trial_index": 1},
        {"instance_id": "c", "stats": [stat("em", 1.0, split="valid")]},
        {"instance_id": "d", "stats": [stat("em", None)]},
        {"instance_id": "e", "stats": [stat("em", 1.0)], "perturbation": {"name": "identity"}},
    ]
    write_json(tmp_path / "per_instance_stats.json", entries)
    assert helm.values(tmp_path, "em", "test") == {"a": 1.0, "b": 0.5, "e": 1.0}
    assert helm.values(tmp_path, "em", "valid") == {"c": 1.0}


def test_no_file_is_no_values(tmp_path: Path) -> None:
    assert helm.values(tmp_path, "em", "test") == {} and helm.answers(tmp_path, {"a"}) == {}


def test_a_generated_answer(tmp_path: Path) -> None:
    write_spec(tmp_path, "gsm", [1, 0])
    ((name, folder),) = helm.folders(tmp_path).items()
    found = helm.answers(folder, {"id0"})["id0"]
    assert name == "gsm" and found.text == " right 0" and found.wanted == ("right 0",)
    assert found.question.startswith("What is 0?") and found.prompt.startswith("Question: 0")


def test_a_letter_is_read_as_its_choice(tmp_path: Path) -> None:
    one = state(0, 1, "?") | {"output_mapping": {"A": "right 0", "B": "other"}}
    one["result"]["completions"][0]["text"] = " B"
    write_json(tmp_path / "scenario_state.json", {"request_states": [one]})
    assert helm.answers(tmp_path, {"id0"})["id0"].read_as == "other"


def test_of_references_that_were_scored_the_likeliest_is_the_answer(tmp_path: Path) -> None:
    def scored(index: int, logprob: float, mode: str = "original") -> dict[str, Any]:
        one = state(0, 1, f"asked {index}") | {"reference_index": index, "request_mode": mode}
        one["result"]["completions"][0]["logprob"] = logprob
        return one

    states = [scored(0, -9.0), scored(1, -2.0), scored(0, -0.1, "calibration")]
    write_json(tmp_path / "scenario_state.json", {"request_states": states})
    found = helm.answers(tmp_path, {"id0"})["id0"]
    assert found.text == found.read_as == "other" and found.prompt.startswith("asked 1")


def test_a_request_that_failed_has_no_text(tmp_path: Path) -> None:
    one = state(0, 1, "?") | {"result": None}
    write_json(tmp_path / "scenario_state.json", {"request_states": [one]})
    assert helm.answers(tmp_path, {"id0"})["id0"].text == ""


@pytest.mark.parametrize("result", [None, {"completions": []}, {"completions": [{"text": ""}]}])
def test_a_reference_whose_request_failed_is_not_the_answer(result: Any, tmp_path: Path) -> None:
    scored, failed = (state(0, 1, "?") | {"reference_index": index} for index in (1, 0))
    failed["result"] = result
    write_json(tmp_path / "scenario_state.json", {"request_states": [failed, scored]})
    assert helm.answers(tmp_path, {"id0"})["id0"].text == "other"
    write_json(tmp_path / "scenario_state.json", {"request_states": [failed]})
    found = helm.answers(tmp_path, {"id0"})["id0"]
    assert (found.text, found.read_as) == ("", "") and found.prompt.startswith("?")
