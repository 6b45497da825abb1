"""HELM gets the same answers and scores whether it asks one question at a time or thirty."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import call
from tests.e2e.kinds import recorded, write
from tests.serve.conftest import byte_level_tokenizer, save_model
from tests.serve.engine.families import speaking
from tests.tools.evaluate.test_stage import make_run
from tools.evaluate import stage as evaluate
from tools.evaluate.stage import WHO

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
    return values(scores), recorded(run.output("eval_base"))


def values(scores: dict[str, Any]) -> dict[str, float]:
    return {name: score["value"] for name, score in scores.items()}


def test_one_thread_and_thirty_are_answered_alike(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", byte_level_tokenizer(), max_position_embeddings=512)
    one = asked(model, tmp_path / "one", 1)
    thirty = asked(model, tmp_path / "thirty", 30)
    assert len(one[1]) == len(ENTRIES) + 1  # two skills
    assert sum(map(len, one[1].values())) > 50 and any(map(any, one[1].values()))
    assert one == thirty


SLOW = pytest.mark.skipif(
    not os.environ.get("ONEDAY_TEST_ALL"), reason="slow: make test-all asks other kinds of models"
)


@SLOW
@pytest.mark.parametrize("family", ["t5", "bart", "bert", "albert"])
def test_so_are_models_of_other_kinds_that_say_much(family: str, tmp_path: Path) -> None:
    """What is only drawn at random says the same to all; what is trained shortly, nearly so."""
    model = speaking(family, tmp_path / "model")
    one, thirty = (
        asked(model, tmp_path / name, threads) for name, threads in (("one", 1), ("thirty", 30))
    )
    assert one == thirty
    assert len({text for texts in one[1].values() for text in texts}) > 20


@SLOW
@pytest.mark.parametrize("family", ["t5", "bart", "bert", "albert"])
def test_so_are_models_of_other_kinds(family: str, tmp_path: Path) -> None:
    """Base and tuned, by the verb, in two copies of one run."""
    recipe = write(tmp_path, family)
    trained = call("merge", recipe, tmp_path / "one", "data.test_rows=40")
    assert trained.returncode == 0, trained.stdout[-4000:]
    shutil.copytree(tmp_path / "one", tmp_path / "thirty")
    one, thirty = (
        scored(recipe, tmp_path / name, threads) for name, threads in (("one", 1), ("thirty", 30))
    )
    assert one == thirty
    texts = [text for _, answers in one.values() for each in answers.values() for text in each]
    assert len(texts) > 100 and any(texts)


def scored(
    recipe: Path, runs: Path, threads: int
) -> dict[str, tuple[dict[str, float], dict[str, list[str]]]]:
    """Scores, and answers, of the base and the tuned model."""
    sets = ("data.test_rows=40", f"eval.threads={threads}", "eval.max_instances=12")
    done = call("eval", recipe, runs, *sets, f"eval.tiers.quick={json.dumps(ENTRIES)}")
    assert done.returncode == 0, done.stdout[-4000:]
    folders = {who: runs / recipe.stem / "eval" / who for who in WHO}
    return {
        who: (values(json.loads((folder / "scores.json").read_text())), recorded(folder))
        for who, folder in folders.items()
    }
