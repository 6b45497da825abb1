"""The funnel, what became of each source's rows, and how long they are."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.tiny import jsonl, make_run, maker
from tests.tools.report.conftest import ARCH
from tools.data import tokens
from tools.data.prepare import prepare
from tools.files import read_json, write_json
from tools.recipe.operators.declared import Filter, Step
from tools.report.drawn.html import join
from tools.report.drawn.made import data as drawn
from tools.report.gathered.rows import data
from tools.report.gathered.source import Source
from tools.run.folder import Run


def test_what_the_data_stage_counted(whole: Run) -> None:
    found = data(Source(whole))
    assert found["read"] is None and found["kept"] == 60 + 6 + 8 + 8
    assert found["questions"] == {"train": 60, "validation": 6, "test": 8, "shots": 8}
    (source,) = found["sources"]
    assert source["trained_on"] == 60 and source["licence"] == "CC0-1.0"
    assert found["lengths"]["rows"] == 30 and found["lengths"]["over"] == 0


def test_rows_read_are_told_where_the_data_stage_counted_them(whole: Run) -> None:
    path = whole.output("data") / "oneday.json"
    record = read_json(path)
    record["metrics"]["read"] = {"counting": 400}
    write_json(path, record)
    found = data(Source(whole))
    assert found["read"] == 400 and found["sources"][0]["read"] == 400


def test_rows_longer_than_the_limit_are_counted(whole: Run) -> None:
    train = {**whole.recipe.train, "sequence_len": 60}
    run = Run(dataclasses.replace(whole.recipe, train=train), whole.path.parent)
    lengths = [20 + 7 * i % 90 for i in range(30)]
    assert data(Source(run))["lengths"]["over"] == sum(length > 60 for length in lengths) > 0


def test_lengths_are_not_known_before_rows_are_tokens(whole: Run) -> None:
    tokens.paths(whole)["train"].unlink()
    assert data(Source(whole))["lengths"] is None


def test_lengths_of_other_rows_are_not_shown(whole: Run) -> None:
    other = make_run(whole.path.parent, model__arch=ARCH, data__seed=2)
    assert data(Source(other))["lengths"] is None


def test_what_is_learnt_of_each_source(whole: Run) -> None:
    (source,) = data(Source(whole))["sources"]
    lengths = [20 + 7 * i % 90 for i in range(30)]
    assert source["learnt_share"] == pytest.approx(5 * 30 / sum(lengths))
    assert source["lengths"]["rows"] == 30 and source["lengths"]["tokens"] == sum(lengths)


def test_why_rows_left_and_what_operators_did(tmp_path: Path) -> None:
    """Two sources, as the data stage itself records them; then as the page shows them."""
    rows = [{"prompt": f"Why {n % 20}?", "completion": " <b>So.</b>"} for n in range(24)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    step: Step = {"filter": Filter(max_words=900)}
    filtered = dataclasses.replace(maker("counting"), operators=[step])
    sources = {"mine": jsonl(file), "counting": filtered}
    run = make_run(tmp_path, model__arch=ARCH, data__sources=sources)
    prepare(run)
    before = data(Source(run))
    mine, counting = before["sources"]
    (left,) = mine["left"]
    assert left == {"why": "with the prompt of an earlier row", "rows": 4, "first": left["first"]}
    assert left["first"].endswith("rows.jsonl:21") and mine["read"] == 24
    assert (counting["learnt_share"], counting["lengths"]) == (None, None)
    (operator,) = before["operators"]
    assert operator["key"].startswith("data.sources.counting.operators")
    page = join(drawn(before))
    assert "with the prompt of an earlier row" in page and operator["key"] in page
    assert "chart-lengths" not in page
