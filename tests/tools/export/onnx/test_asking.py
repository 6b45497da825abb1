"""ONNX files are held against the merged model: what counts as equal, as a tie, and as wrong."""

import dataclasses
from pathlib import Path

import numpy
import pytest

from tools.errors import StageError
from tools.export.onnx import asking
from tools.export.onnx.merged import Lines, Merged

LOGITS = numpy.array([[1.0, 4.0, 2.0], [0.0, -8.0, 1.0]], numpy.float32)
OWN = Merged(
    lines=Lines([[5, 1], [6, 7, 1]], None),
    start=3,
    padding=0,
    greedy=[[1, 2], [2, 0]],
    gaps=[[0.5, 0.5], [0.5, 0.0001]],
    logits=LOGITS,
    parameters=10,
)
TOLD = {"greedy": OWN.greedy, "engine": "onnxruntime 1"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What ONNX Runtime has written."""
    LOGITS.tofile(tmp_path / "logits.f32")
    return tmp_path / "logits.f32"


def test_files_that_are_the_model(file: Path) -> None:
    found = asking.held(OWN, TOLD, file)
    assert found["greedy"] == {"prompts": 2, "equal": 2, "ties": 0, "ids": 4, "same": 4}
    assert found["logits_apart"] == 0 and found["engine"] == "onnxruntime 1"


def test_where_the_two_best_are_as_good_as_equal_rounding_chooses(file: Path) -> None:
    found = asking.held(OWN, TOLD | {"greedy": [[1, 2], [2, 1]]}, file)
    assert (found["greedy"]["equal"], found["greedy"]["ties"]) == (1, 1)


def test_another_token_where_one_is_clearly_best(file: Path) -> None:
    with pytest.raises(StageError, match=r"greedy text of 1 of 2 prompts is not the merged one's"):
        asking.held(OWN, TOLD | {"greedy": [[1, 0], [2, 0]]}, file)


@pytest.mark.parametrize(
    ("moved", "said"), [(0.0081, "up to 0.00101 of"), (numpy.nan, "up to nan of")]
)
def test_logits_that_are_too_far_apart(moved: float, said: str, file: Path) -> None:
    """By a share of the largest, whatever its sign."""
    (LOGITS + numpy.array([moved, 0, 0], numpy.float32)).tofile(file)
    with pytest.raises(StageError, match=f"not the merged model: .*{said} the largest one apart"):
        asking.held(OWN, TOLD, file)
    (LOGITS + numpy.array([0.0079, 0, 0], numpy.float32)).tofile(file)
    assert asking.held(OWN, TOLD, file)["logits_apart"] == pytest.approx(0.0079 / 8, rel=1e-3)


def test_another_number_of_words(file: Path) -> None:
    LOGITS[:, :2].tofile(file)
    with pytest.raises(StageError, match="up to inf of the largest one apart"):
        asking.held(OWN, TOLD, file)


def test_what_is_asked(tmp_path: Path) -> None:
    asked = asking.request(tmp_path, OWN, tmp_path / "logits.f32", 2)
    assert asked["lines"] == OWN.lines.ids and asked["places"] is None and asked["start"] == 3
    assert asked["steps"] == asking.STEPS == 24 and asked["threads"] == 2


def test_the_lines_for_a_user(file: Path) -> None:
    record = asking.held(OWN, TOLD | {"greedy": [[1, 2], [2, 1]]}, file)
    assert asking.said(record | {"mb": 2.0, "merged_mb": 1.0}).splitlines() == [
        "onnx: 2.0 MB (merged: 1.0 MB), float32",
        "onnxruntime 1: greedy text of 1 of 2 prompts equal, 1 part at a tie; logits at most "
        "0.0e+00 of the largest apart",
    ]
    own = dataclasses.replace(OWN, greedy=[[1], [2]], gaps=[[0.5], [0.5]])
    record = asking.held(own, TOLD | {"greedy": own.greedy}, file)
    assert "the likeliest token of 2 of 2" in asking.said(record | {"mb": 2.0, "merged_mb": 1.0})
