"""Two models asked the same questions: what one lost, question by question."""

from pathlib import Path
from typing import Any

import pytest

from tests.tools.score.helm_suite import original, write_run
from tools.errors import StageError
from tools.evaluate import side_by_side
from tools.evaluate.side_by_side import Values, compared
from tools.score import suites


def of(merged: Values, quantized: Values) -> dict[str, Any]:
    return compared({"merged": merged, "quantized": quantized}, "merged", "quantized")


def test_means_over_run_specs() -> None:
    """Each run spec weighs the same, however many questions it has."""
    found = of({"a": [1, 1, 1, 1], "b": [1]}, {"a": [1, 1, 1, 0], "b": [0]})
    assert found["merged"] == 1 and found["quantized"] == 0.375
    assert found["drop"] == 0.625 and found["questions"] == 5 and found["run_specs"] == 2
    low, high = found["drop_interval"]
    assert low == 0.5 and 0.625 < high <= 1


def test_the_interval_is_of_pairs() -> None:
    """Whatever the scores vary by, two models that answer alike differ by nothing."""
    answers: list[float | None] = [0, 1] * 50
    assert of({"a": answers}, {"a": list(answers)})["drop_interval"] == [0, 0]


def test_only_what_both_answered_counts() -> None:
    found = of({"a": [1, None, 1], "b": [1], "c": [1, 1]}, {"a": [0, 1, None], "c": [1]})
    assert (found["merged"], found["quantized"], found["questions"]) == (1, 0, 1)


def test_nothing_in_common() -> None:
    with pytest.raises(StageError, match=r"no question of quantize\.tier was answered by both"):
        of({"a": [1]}, {"b": [1]})


def test_a_questions_value_is_helms_first_metric(tmp_path: Path) -> None:
    write_run(tmp_path, "mmlu:subject=law", original(1.0, 0.0, 1.0))
    write_run(tmp_path, "oneday:skill=fixed", original(0.0, 1.0), "quasi_exact_match")
    specs, _ = suites.read(tmp_path)
    values = {spec.name: side_by_side._values(spec) for spec in specs}
    assert values == {"mmlu:subject=law": [1.0, 0.0, 1.0], "oneday:skill=fixed": []}
