"""HELM gets the same answers and scores whether it asks one question at a time or thirty."""

import json
from pathlib import Path
from typing import Any

from tests.serve.conftest import byte_level_tokenizer, save_model
from tests.tools.evaluate.test_stage import make_run
from tools.evaluate import stage as evaluate

ENTRIES = (
    "oneday",
    "simple_mcqa",
    "simple_short_answer_qa",
    "synthetic_reasoning:mode=pattern_match",
    "synthetic_reasoning_natural:difficulty=easy",
    "dyck_language:num_parenthesis_pairs=3",
)


def asked(model: Path, root: Path, threads: int) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Scores, and answers, by run spec."""
    run = make_run(root, *ENTRIES)
    run.recipe.eval.threads, run.recipe.eval.max_instances = threads, 12
    run.recipe.serve.context = 512
    scores = evaluate.evaluate(run.recipe, run, "base", model)
    answers = {}
    for file in sorted(
        run.output("eval_base").glob("benchmark_output/runs/*/*/scenario_state.json")
    ):
        states: list[dict[str, Any]] = json.loads(file.read_text())["request_states"]
        answers[file.parent.name] = [
            completion["text"] for state in states for completion in state["result"]["completions"]
        ]
    return {name: score["value"] for name, score in scores.items()}, answers


def test_one_thread_and_thirty_are_answered_alike(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", byte_level_tokenizer(), max_position_embeddings=512)
    one = asked(model, tmp_path / "one", 1)
    thirty = asked(model, tmp_path / "thirty", 30)
    assert len(one[1]) == len(ENTRIES) + 1  # two skills
    assert sum(map(len, one[1].values())) > 50 and any(map(any, one[1].values()))
    assert one == thirty
