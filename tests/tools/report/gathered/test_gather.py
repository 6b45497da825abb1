"""All parts as one value: what is missing is said with its remedy and breaks no other part."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import make_run
from tools.errors import UserError
from tools.report.gathered.gather import PARTS, clean, gather
from tools.report.gathered.source import Source
from tools.report.write import report
from tools.run.folder import Run


def parts(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = gather(Source(run), " HW=tiny")["parts"]
    return found


def test_a_whole_run_has_every_part(whole: Run) -> None:
    assert "not measured" in parts(whole)["worker"]["missing"]  # its log is not there
    record = whole.record("eval_tuned")
    assert record
    line = {"time": record["finished"], "message": "answered", "seconds": 1, "new_tokens": 1}
    log = json.dumps(line | {"prompt_tokens": 1})
    (whole.logs / "worker_tuned.log").write_text(log)
    found = gather(Source(whole, (), Source(whole)), " HW=tiny")["parts"]
    assert list(found) == [name for name in PARTS if name != "sweep"], "it has none"
    assert not {name: part["missing"] for name, part in found.items() if "missing" in part}


def test_the_files_are_written_and_agree(whole: Run) -> None:
    page = report(whole, options=" HW=tiny")
    assert page == whole.path / "report.html" and page.read_text().startswith("<!doctype html>")
    stored = json.loads((whole.path / "report.json").read_text())
    assert stored == gather(Source(whole), " HW=tiny")
    assert not [path for path in whole.path.iterdir() if path.suffix == ".tmp"]


def test_the_same_run_gives_the_same_bytes(whole: Run) -> None:
    first = report(whole).read_bytes()
    assert report(whole).read_bytes() == first


def test_it_holds_no_path_of_the_machine(whole: Run) -> None:
    assert str(whole.path.parent) not in json.dumps(gather(Source(whole)))


def test_nothing_made_is_a_fault_of_the_user(run_of_nothing: Run) -> None:
    with pytest.raises(UserError, match="nothing was made there yet; first: make day HW=tiny"):
        gather(Source(run_of_nothing), " HW=tiny")


@pytest.fixture
def run_of_nothing(tmp_path: Any) -> Run:
    return make_run(tmp_path)


def gone(*names: str) -> Callable[[Run], None]:
    def remove(run: Run) -> None:
        for name in names:
            path = run.path / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


EVALS = ("eval/base", "eval/tuned")
MISSING = {
    "training": (gone("adapter"), "nothing was trained yet", "make train HW=tiny"),
    "day": (gone("clock.jsonl"), "no stage was on the clock yet", "make train HW=tiny"),
    "data": (gone("data"), "no rows were made yet", "make data HW=tiny"),
    "scores": (gone(*EVALS), "nothing was evaluated yet", "make eval HW=tiny"),
    "ranking": (gone(*EVALS), "nothing was evaluated yet", "make eval HW=tiny"),
    "mistakes": (gone(*(f"{e}/benchmark_output" for e in EVALS)), "not there", "make eval HW=tiny"),
    "rules": (gone(*(f"{e}/metrics.json" for e in EVALS)), "not kept", "make eval HW=tiny"),
    "contamination": (gone("eval/contamination.json"), "not checked", "make eval HW=tiny"),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_said_with_its_remedy(name: str, whole: Run) -> None:
    remove, why, command = MISSING[name]
    remove(whole)
    found = parts(whole)[name]
    assert why in found["missing"] and found["command"] == command


def test_a_model_whose_numbers_are_not_known_has_no_prediction(built: Any) -> None:
    found = parts(make_run(built))["memory"]
    assert "model.arch is missing" in found["missing"]


@pytest.mark.parametrize(
    "name, text",
    [
        ("eval/contamination.json", '{"scenarios": [1]}'),
        ("eval/tuned/metrics.json", '{"rules": 7}'),
        ("eval/tuned/scores.json", '{"mmlu:subject=law": {}}'),
        ("clock.jsonl", '{"id": 1}\n'),
        ("data/oneday.json", '{"stage": "data", "metrics": {}}'),
        ("adapter/oneday.json", '{"stage": "train"}'),
    ],
)
def test_a_file_of_another_shape_breaks_no_other_part(name: str, text: str, whole: Run) -> None:
    before = {part for part, value in parts(whole).items() if "missing" not in value}
    (whole.path / name).write_text(text)
    found = parts(whole)
    broken = {part for part in before if "missing" in found[part]}
    assert 1 <= len(broken) <= 4 and "manifest" not in broken
    assert any("cannot be read" in found[part]["missing"] for part in broken)
    report(whole)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=6,
)


@settings(max_examples=50)
@given(VALUES)
def test_any_value_is_written_as_json_that_all_read(value: Any) -> None:
    text = json.dumps(clean(value), allow_nan=False, ensure_ascii=False)
    assert json.loads(text.encode("utf-8")) == clean(value)


def test_half_a_character_is_replaced() -> None:
    assert clean({"\ud800": ["a\udfffb", float("nan")]}) == {"?": ["a?b", None]}
