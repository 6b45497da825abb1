"""lm-eval's samples, and the table over them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.evaluate import lm_samples, lm_scores

STAMP = "2026-01-01T00-00-00.000000"


def write(
    folder: Path, task: str, values: list[float], metric: str = "acc", kind: str = "none"
) -> None:
    """Samples of one task, a line a question and filter, as lm-eval leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {"doc_id": at, "doc_hash": f"{task}{at}", "filter": kind, "metrics": [metric], metric: one}
        for at, one in enumerate(values)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    with (folder / f"samples_{task}_{STAMP}.jsonl").open("a", encoding="utf-8") as file:
        file.write(text)


def one(value: float, better: bool | None = True) -> dict[str, Any]:
    return {"value": value, "stderr": 0.1, "higher_is_better": better, "n": 9}


def rows(found: dict[str, Any], folder: Path) -> dict[str, list[str]]:
    lines = lm_scores.table(found, folder).partition("\n\n")[0].splitlines()
    return {line.split()[0]: [c.strip() for c in line.split("  ")[1:] if c] for line in lines}


def test_the_table(tmp_path: Path) -> None:
    base = {"a": {"acc": one(0.2)}, "b": {"em:strict": one(0.8)}, "gone": {"acc": one(0.1)}}
    tuned = {"a": {"acc": one(0.8)}, "b": {"em:strict": one(0.2)}, "new": {"acc": one(0.3)}}
    for who, share in (("base", 2), ("tuned", 8)):
        write(tmp_path / who, "a", [1.0] * share + [0.0] * (10 - share))
        write(tmp_path / who, "b", [0.0] * share + [1.0] * (10 - share), "em", "strict")
    found = rows({"base": base, "tuned": tuned}, tmp_path)
    assert found["a"][:4] == ["acc", "0.200", "0.800", "+0.600"]
    assert found["a"][-1] == "better: more than noise"
    assert found["b"][-1] == "worse: more than noise"
    assert found["new"] == ["acc", "-", "0.300", "-", "-", "9"]
    assert found["gone"] == ["acc", "0.100", "-", "-", "-", "9"]


def test_less_may_be_better_and_tasks_may_differ_in_it(tmp_path: Path) -> None:
    for who, value in (("base", 1.0), ("tuned", 0.0)):
        write(tmp_path / who, "a", [value] * 10)
        write(tmp_path / who, "b", [value] * 10)
    pair = [
        {"a": {"acc": one(value, False)}, "b": {"acc": one(value, None)}} for value in (1.0, 0.0)
    ]
    found = rows({"base": pair[0], "tuned": pair[1]}, tmp_path)
    assert found["a"][-1] == "better: more than noise" and found["b"][-1] == "9"


def test_a_group_has_the_questions_of_all_its_tasks(tmp_path: Path) -> None:
    for who, value in (("base", 0.0), ("tuned", 1.0)):
        write(tmp_path / who, "all_x", [value] * 4)
        write(tmp_path / who, "all_y", [value] * 6)
        told = {"group_subtasks": {"all": ["half"], "half": ["all_x", "all_y"], "all_x": []}}
        (tmp_path / who / "results_1.json").write_text(json.dumps(told))
    answered = (lm_samples.answered(tmp_path / "base"), lm_samples.answered(tmp_path / "tuned"))
    key = ("all", "acc")
    assert len(answered[0][key]) == 10
    made = lm_samples.difference(key, answered, 1.0)
    assert made and made.questions == 10 and made.clear
    assert lm_samples.difference(key, answered, 0.9) is None, "tasks weigh otherwise there"


@pytest.mark.parametrize("value", [[1.0, 2.0], None, "text"])
def test_what_is_no_number_a_question_has_no_interval(value: Any, tmp_path: Path) -> None:
    for who in ("base", "tuned"):
        write(tmp_path / who, "a", [value] * 10)
    pair = {"a": {"acc": one(0.5)}}
    assert rows({"base": pair, "tuned": pair}, tmp_path)["a"][3:] == ["+0.000", "-", "9"]


def test_other_questions_are_not_compared(tmp_path: Path) -> None:
    write(tmp_path / "base", "a", [1.0] * 10)
    write(tmp_path / "tuned", "b", [1.0] * 10)
    pair = {"a": {"acc": one(1.0)}}
    assert rows({"base": pair, "tuned": pair}, tmp_path)["a"][4] == "-"
