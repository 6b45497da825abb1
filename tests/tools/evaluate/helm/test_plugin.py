"""The prompts and scores of the plug-in, as the real helm-run makes them."""

import ast
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.evaluate.stub_worker import StubWorker
from tools.evaluate import stage as evaluate

ANSWERS = {
    "letter": " A",
    "string": " three",
    "number": " It is the sum. The answer is 12.",
    "text": " It lies on the Seine.\n\nIn the north.",
}


def row(skill: str, form: str, number: int, output: str, *choices: str) -> dict[str, Any]:
    fields = {"id": f"{skill}-{number}", "skill": skill, "input": f"Q{number}", "output": output}
    return {**fields, "format": form, "choices": list(choices)}


def own(skill: str, form: str, number: int, output: str) -> dict[str, Any]:
    """A user's row, asked as it was trained."""
    return {**row(skill, form, number, output), "input": f"Say {number}:\n>", "verbatim": True}


SHOTS = [
    row("letter", "letter", 1, "b", "a", "b"),
    row("letter", "letter", 2, "c", "c", "d"),
    row("string", "string", 1, "one"),
    row("string", "string", 2, "two"),
    row("number", "number", 1, "1 + 1 = 2. The answer is 2."),
    row("number", "number", 2, "3 + 4 = 7. The answer is 7."),
    *[row("many", "string", number, str(number)) for number in range(5)],
    own("own_string", "string", 1, " one"),
    own("own_letter", "letter", 1, " B"),
    own("own_text", "text", 1, " A town."),
]
TEST = [
    row("letter", "letter", 3, "e", "e", "f"),
    row("string", "string", 3, "three"),
    row("number", "number", 3, "5 + 7 = 12. The answer is 12."),
    row("many", "string", 3, "three"),
    own("own_string", "string", 3, " three"),
    own("own_letter", "letter", 3, " A"),
    own("own_text", "text", 3, ANSWERS["text"]),
]


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The suite's folder after one helm-run, and the request of each skill."""
    folder = tmp_path_factory.mktemp("helm")
    for name, rows in (("shots.jsonl", SHOTS), ("test.jsonl", TEST)):
        (folder / name).write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    skills = [r["skill"] for r in TEST]
    entries = [f"oneday:skill={skill},model=neurips/local" for skill in skills]
    command = [str(evaluate.helm_venv() / "bin/helm-run"), "--suite", "s", "-m", "9", "-n", "1"]
    command += ["--plugins", str(evaluate.PLUGIN.absolute()), "--run-entries", *entries]
    answers = iter([*(ANSWERS[r["format"]] for r in TEST)])
    with StubWorker(lambda prompt: next(answers)) as worker:
        env = {"ONEDAY_DATA": str(folder), "HELM_HTTP_MODEL_BASE_URL": worker.url}
        subprocess.run(command, cwd=folder, env={**os.environ, **env}, check=True, timeout=60)
    yield folder / "benchmark_output/runs/s", dict(zip(skills, worker.asked, strict=True))


def documented(form: str) -> str:
    """The prompt that the module's docstring shows for a format."""
    text = ast.get_docstring(ast.parse(evaluate.PLUGIN.read_text(encoding="utf-8"))) or ""
    shown = re.search(rf"^``{form}``[\s\S]*?::\n\n((?:    '.*'\n?)+)", text, re.MULTILINE)
    assert shown, f"the docstring shows no prompt for {form}"
    return str(ast.literal_eval(f"({shown[1]})"))


@pytest.mark.parametrize(
    ("form", "tokens", "stops"),
    [("letter", 1, []), ("string", 40, ["\n"]), ("number", 60, ["\n\n"])],
)
def test_prompt_is_the_documented_one(
    helm: tuple[Path, dict[str, Any]], form: str, tokens: int, stops: list[str]
) -> None:
    asked = helm[1][form]
    assert asked["prompt"] == documented(form)
    assert (asked["max_new_tokens"], asked["stop_sequences"]) == (tokens, stops)


@pytest.mark.parametrize("form", ["letter", "string", "number"])
def test_right_answer_scores_one(helm: tuple[Path, dict[str, Any]], form: str) -> None:
    score = evaluate.read_scores(helm[0])[f"oneday:skill={form}"]
    metric = "exact_match_indicator" if form == "number" else "exact_match"
    assert (score["metric"], score["value"], score["instances"]) == (metric, 1.0, 1)


@pytest.mark.parametrize(
    ("skill", "metric", "prompt", "tokens", "stops"),
    [
        ("own_string", "exact_match", "Say 1:\n> one\n\nSay 3:\n>", 10, ["\n"]),
        ("own_letter", "exact_match", "Say 1:\n> B\n\nSay 3:\n>", 8, ["\n"]),
        ("own_text", "rouge_l", "Say 3:\n>", 26, []),
    ],
)
def test_own_rows_are_asked_to_the_letter(
    helm: tuple[Path, dict[str, Any]], skill: str, metric: str, prompt: str, tokens: int, stops: Any
) -> None:
    asked = helm[1][skill]
    assert asked["prompt"] == prompt
    assert (asked["max_new_tokens"], asked["stop_sequences"]) == (tokens, stops)
    score = evaluate.read_scores(helm[0])[f"oneday:skill={skill}"]
    assert (score["metric"], score["value"], score["instances"]) == (metric, 1.0, 1)


def test_three_examples_by_default(helm: tuple[Path, dict[str, Any]]) -> None:
    assert helm[1]["many"]["prompt"].count("Question:") == 4


def test_results_hold_no_path_of_this_machine(helm: tuple[Path, dict[str, Any]]) -> None:
    folder = helm[0] / "oneday:skill=many,model=neurips_local"
    text = "".join(path.read_text(encoding="utf-8") for path in folder.iterdir())
    assert str(helm[0].parents[2]) not in text  # where the data is
    assert str(evaluate.PLUGIN.absolute().parents[3]) not in text
