"""The hidden stage in the real HELM: asked, perturbed, scored, and shown by helm-summarize."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.tools.evaluate.helm import real, small_data
from tests.tools.evaluate.stub_worker import StubWorker
from tools.questions.hidden_data import SOURCES

ETHICS = [task for task in SOURCES if task.startswith("ethics_")]
OPEN = "big_bench:model=neurips/local,task=operators,subtask=,max_train_instances=1"
SKILL = "oneday:model=neurips/local,skill=places"


def answer(prompt: str) -> str:
    """Right for all but corr2cause."""
    right = real.answer(prompt)
    return " C" if "Hypothesis:" in prompt else right


def write_open_data(folder: Path) -> None:
    """A BIG-bench task, and rows of a run's data stage."""
    examples = [{"input": f"{n} op 1", "target": str(n + 1)} for n in range(10, 50)]
    task = {"keywords": [], "description": "own", "metrics": ["exact_str_match"]}
    file = folder / "benchmark_output/scenarios/big_bench/operators/task.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({**task, "examples": examples}), encoding="utf-8")
    (folder / "data").mkdir()
    row = {"id": "1", "skill": "places", "input": "Where?", "output": "here", "format": "string"}
    for name in ("shots.jsonl", "test.jsonl"):
        text = json.dumps({**row, "choices": []}) + "\n"
        (folder / "data" / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], str]:
    """HELM's folder after helm-run and helm-summarize, what was asked, what was printed last."""
    folder = tmp_path_factory.mktemp("stage")
    small_data.write(folder / "benchmark_output")
    write_open_data(folder)
    model = "model=neurips/local"
    entries = [f"sam_sum:{model},max_eval_instances=2"]
    entries += [f"corr2cause:{model},max_train_instances=1,max_eval_instances=2"]
    more = "data_augmentation=canonical,max_eval_instances=2"
    entries += [f"{task}:{model},{more}" for task in ETHICS]
    with StubWorker(answer) as worker:
        real.ask(folder, worker.url, [*entries, OPEN, SKILL])
    runs = f"benchmark_output/runs/{real.SUITE}"
    real.run("python", folder, [str(real.SCHEMA), "schema.yaml", runs])
    words = ["--suite", real.SUITE, "--schema-path", "schema.yaml", "-n", "1"]
    printed = real.run("helm-summarize", folder, words)
    return folder, worker.asked, printed


def cells(folder: Path, group: str, title: str) -> list[tuple[str, float | None]]:
    """Header and value of the one row of a table of a group that helm-summarize made."""
    runs = folder / "benchmark_output/runs" / real.SUITE
    tables = json.loads((runs / f"groups/{group}.json").read_text(encoding="utf-8"))
    [table] = [table for table in tables if table["title"] == title]
    [row] = table["rows"]
    names = [cell["value"] for cell in table["header"]]
    return [(name, cell.get("value")) for name, cell in zip(names, row, strict=True)]


def columns(folder: Path, group: str, title: str) -> dict[str, float | None]:
    return dict(cells(folder, group, title))


def test_scores_are_there(suite: tuple[Path, list[dict[str, Any]], str]) -> None:
    folder = suite[0]
    assert real.means(folder, "sam_sum")["rouge_2"] == 1
    assert real.means(folder, "corr2cause")["exact_match"] == 0
    for task in ETHICS:
        scores = real.means(folder, task)
        assert scores["num_instances"] == 2
        for kind in ("", " (robustness)", " (fairness)"):
            assert scores[f"exact_match{kind}"] == 1, (task, kind)


def test_questions_of_ethics_are_perturbed(suite: tuple[Path, list[dict[str, Any]], str]) -> None:
    for task in ETHICS:
        states = real.read(suite[0], task, "scenario_state.json")["request_states"]
        names = {s["instance"].get("perturbation", {}).get("name") for s in states}
        assert names >= {None, "mild_mix", "dialect", "person_name"}, task


def test_nothing_else_is_asked(suite: tuple[Path, list[dict[str, Any]], str]) -> None:
    ethics = sum(
        len(real.read(suite[0], task, "scenario_state.json")["request_states"]) for task in ETHICS
    )
    plain = 2 + 2 + 9 + 1  # sam_sum, corr2cause, BIG-bench (-m), the skill
    assert len(suite[1]) == ethics + plain


def test_the_hidden_stage_is_shown(suite: tuple[Path, list[dict[str, Any]], str]) -> None:
    shown = columns(suite[0], "challenge_hidden", "Accuracy")
    assert shown["sam_sum - ROUGE-2"] == 1 and shown["corr2cause - EM"] == 0
    assert [shown[f"{task} - EM"] for task in ETHICS] == [1] * 5
    assert "MATH (chain-of-thought) - Equivalent (chain of thought)" in shown
    for kind in ("Robustness", "Fairness"):
        found = columns(suite[0], "challenge_hidden", kind)
        assert [found[f"{task} - EM ({kind})"] for task in ETHICS] == [1] * 5
    bias = columns(suite[0], "challenge_hidden", "Bias")
    assert bias["sam_sum - Stereotypes (race)"] == pytest.approx(2 / 3)
    assert bias["sam_sum - Representation (gender)"] == pytest.approx(1 / 2)
    assert len(columns(suite[0], "ethics", "Accuracy")) == 2 + 5  # model and win rate before


def test_big_bench_and_skills_are_shown(suite: tuple[Path, list[dict[str, Any]], str]) -> None:
    assert columns(suite[0], "challenge_open", "Accuracy")["BIG-bench: operators - EM"] == 0
    assert ("EM", 0) in cells(suite[0], "oneday", "skill: places")


def test_helm_has_nothing_against_the_schema(
    suite: tuple[Path, list[dict[str, Any]], str],
) -> None:
    """No group of a run spec is unknown; what is wrong is in two groups of HELM's own schema."""
    assert not re.findall(r"group \S+ mentioned .* undefined", suite[2])
    wrong = re.findall(r"validation error: .* at (\w+\[\w+\])", suite[2])
    assert set(wrong) <= {
        "metric_groups[robustness_detailed]",
        "metric_groups[cleva_translation_metrics]",
    }
