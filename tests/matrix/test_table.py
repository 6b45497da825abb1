"""A matrix as it is printed, and what its exit code says."""

from pathlib import Path

import pytest

from tests.matrix import table


def test_a_cell_that_breaks_leaves_the_others_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """It is named below the table; a line's cells share a folder, which is gone behind it."""
    folders = set()

    def cell(family: str, column: str, folder: Path) -> table.Cell:
        folders.add(folder)
        if column == "b":
            raise AssertionError("the loss is NaN")
        return f"{family}{len(list(folder.parent.glob(folder.name)))}", ""

    wrong = table.show(["x", "y"], ["a", "b", "c"], cell, 8, lambda one: f"{one} (BPE)")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["family", "a", "b", "c"],
        ["x", "(BPE)", "x1", "FAILED", "x1"],
        ["y", "(BPE)", "y1", "FAILED", "y1"],
    ]
    assert wrong == [f"{one}, b: AssertionError: the loss is NaN" for one in "xy"]
    assert len(folders) == 2 and not any(one.exists() for one in folders)


def test_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert table.verdict([], 6) == 0
    assert table.verdict(["x, a: the loss did not fall"], 6) == 1
    said = capsys.readouterr().out
    assert said == "all 6 as they should be\nx, a: the loss did not fall\n"
