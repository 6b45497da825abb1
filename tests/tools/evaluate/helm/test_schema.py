"""The schema for helm-summarize: what is added to HELM's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.evaluate.helm import schema

CLASSIC: dict[str, Any] = {
    "adapter": [],
    "metrics": [{"name": "exact_match"}],
    "metric_groups": [{"name": "accuracy"}],
    "run_groups": [{"name": "mmlu"}],
}


def groups(*big_bench: str) -> dict[str, dict[str, Any]]:
    """The groups of the schema, by name."""
    return {group["name"]: group for group in schema.extend(CLASSIC, [*big_bench])["run_groups"]}


def spec(suite: Path, name: str, *names: str) -> None:
    (suite / name).mkdir(parents=True)
    (suite / name / "run_spec.json").write_text(json.dumps({"groups": names}), encoding="utf-8")


def test_tasks_are_those_of_the_suite_once(tmp_path: Path) -> None:
    for shots in (0, 1):
        spec(tmp_path, f"big_bench:task=b,max_train_instances={shots}", "big_bench_b")
    spec(tmp_path, "big_bench:task=a", "big_bench_a")
    spec(tmp_path, "gsm:model=x", "gsm")
    (tmp_path / "failed:model=x").mkdir()  # HELM leaves an empty folder
    assert schema.tasks(tmp_path) == ["a", "b"]


def test_big_bench_holds_the_tasks_of_the_suite() -> None:
    found = groups("operators", "analytic_entailment")
    assert found["big_bench"]["subgroups"] == [
        "big_bench_operators",
        "big_bench_analytic_entailment",
    ]
    assert found["big_bench_operators"]["environment"]["main_split"] == "test"
    assert groups()["big_bench"]["subgroups"] == []


def test_helms_own_groups_stay() -> None:
    found = schema.extend(CLASSIC, [])
    assert found["run_groups"][-1] == {"name": "mmlu"} and found["metrics"] == CLASSIC["metrics"]
    assert "adapter" not in found


@pytest.mark.parametrize(
    ("name", "main", "columns"),
    [
        ("sam_sum", "rouge_2", ["accuracy", "bias"]),
        ("corr2cause", "exact_match", ["accuracy"]),
        ("ethics_justice", "exact_match", ["accuracy", "robustness", "fairness"]),
    ],
)
def test_hidden_scenarios_have_the_columns_of_the_final(
    name: str, main: str, columns: list[str]
) -> None:
    group = groups()[name]
    assert group["environment"] == {"main_name": main, "main_split": "valid"}
    assert group["metric_groups"] == [*columns, "general_information"]
    assert name in {*groups()["challenge_hidden"]["subgroups"], *groups()["ethics"]["subgroups"]}


def test_a_parent_names_only_what_is_there_or_helms() -> None:
    found = groups("operators")
    helms = {"mmlu", "truthful_qa", "gsm", "bbq", "summarization_cnndm", "math_chain_of_thought"}
    for group in found.values():
        assert set(group.get("subgroups", [])) <= {*found, *helms}
