"""Rows that hold questions of the evaluation leave, or are refused, each with its scenario."""

import pytest

from tests.tools.curate.rows import places, table
from tools.curate.contaminated import PARTLY, decontaminate
from tools.errors import UserError
from tools.recipe.operators.declared import Decontaminate

LONG = " ".join(f"w{n}" for n in range(30))
QUESTIONS = {"mmlu": [LONG, "What is it?"], "own.txt": [f"{LONG} and more"], "oneday": []}
ROWS = table(
    (f"Question: {LONG.upper()}\nAnswer:", " A"),
    ("Question: What is it?\nAnswer:", " x"),
    (" ".join(LONG.split()[:15]), " half of it"),
    ("nothing", " known"),
    ("Repeat.", f" {LONG}, and more!"),
)


def test_they_leave_by_scenario() -> None:
    result = decontaminate(ROWS, 0, Decontaminate(), QUESTIONS)
    assert places(result.rows) == [3, 4]
    assert result.left == {"holds a question of mmlu": 3}
    assert result.notes == {
        "questions": {"mmlu": 2, "own.txt": 1, "oneday": 0},
        PARTLY: {"mmlu": 1},
    }
    assert [one.place for one in result.examples] == ["mine:1", "mine:2", "mine:5"]
    assert result.examples[1].why == "100% of a question of mmlu: What is it?"


def test_they_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        decontaminate(ROWS, 0, Decontaminate(found="refuse"), QUESTIONS)
    (fault,) = caught.value.faults
    assert fault.startswith(
        "decontaminate: 3 rows hold a question of the evaluation (3 of mmlu); mine:1:"
    )
    clean = table(("nothing", " known"))
    assert decontaminate(clean, 0, Decontaminate(found="refuse"), QUESTIONS).rows.num_rows == 1
