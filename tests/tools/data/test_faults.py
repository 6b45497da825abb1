"""What is said of a file by its first rows alone: the same as of all of them, and quickly."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import EOS, recipe
from tools.data.faults import first_looks, look
from tools.data.prepare import prepare
from tools.errors import UserError
from tools.recipe.schema import Source
from tools.run.folder import Run

GOOD = {"q": "Why?", "a": " It is."}


def source(folder: Path, rows: list[dict[str, Any]], **values: Any) -> Source:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    keys = {"prompt": "{q}", "completion": "{a}", **values}
    return Source("local", str(file), "MIT", "human", **keys)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"q": "", "a": "All of it."}, "nothing stands before its answer, so 100 %"),
        ({"q": "<s>Why?", "a": " So."}, "its prompt begins with <s>, which is text here"),
        ({"q": "<own>Why?", "a": " So."}, "its prompt begins with <own>"),
        ({"q": "Answer: ", "a": "B"}, "its prompt ends in a blank"),
        ({"q": "Why?", "a": f" So.{EOS}"}, f"its answer holds {EOS}"),
    ],
)
def test_a_row_that_is_wrong(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    mine = source(tmp_path, [GOOD, row])
    ((_, found),) = first_looks(recipe(data__sources={"mine": mine}, model__bos="<own>"))
    (fault,) = found.faults
    assert fault.startswith(f"{tmp_path}/rows.jsonl:2: {said}") and "data.sources.mine" in fault


def test_rows_without_an_answer(tmp_path: Path) -> None:
    empty = {"q": "Why?", "a": " "}
    found = look("mine", source(tmp_path, [GOOD, empty, empty]))
    assert found.faults == []
    (left,) = found.left
    assert left.startswith("data.sources.mine: 2 of the first 3 rows leave, without an answer")
    assert left.endswith("rows.jsonl:2)")
    (fault,) = look("mine", source(tmp_path, [empty, empty])).faults
    assert "rows.jsonl: none of its first 2 rows has an answer" in fault


def test_whole_texts_have_no_prompt_by_declaration(tmp_path: Path) -> None:
    rows = [{"text": "<s>All of it."}]
    plain = source(tmp_path, rows, shape="text", prompt="{prompt}", completion="{completion}")
    assert look("mine", plain) == ([], [])


def test_what_check_refuses_data_does_not_train(tmp_path: Path) -> None:
    """The data stage refuses the answer's token, too; both by the recipe's own names of it."""
    mine = source(tmp_path, [GOOD, {"q": "Why?", "a": f" So.{EOS}"}])
    with pytest.raises(UserError, match="which is the model's own token"):
        prepare(Run(recipe(data__sources={"mine": mine}), tmp_path / "runs"))


def test_a_large_file_is_looked_at_quickly(tmp_path: Path) -> None:
    rows = [{"q": f"Why {n}? " + "word " * 200, "a": " So."} for n in range(20_000)]
    mine = source(tmp_path, [*rows, {"q": "broken"}])
    started = time.process_time()
    assert look("mine", mine) == ([], [])
    assert time.process_time() - started < 0.1
