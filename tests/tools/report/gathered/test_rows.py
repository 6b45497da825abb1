"""The funnel and the histogram."""

import dataclasses
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from tests.tiny import make_run
from tests.tools.report.conftest import ARCH
from tools.data import tokens
from tools.files import read_json, write_json
from tools.report.gathered.rows import BINS, data, histogram
from tools.report.gathered.source import Source
from tools.run.folder import Run


@given(st.lists(st.integers(0, 50_000), min_size=1).map(sorted))
def test_every_row_is_in_the_one_bin_that_covers_it(lengths: list[int]) -> None:
    found = histogram(lengths)
    assert sum(found["counts"]) == found["rows"] == len(lengths)
    assert len(found["counts"]) <= BINS + 1 and found["counts"][-1] > 0
    upto = accumulate(found["counts"])
    for number, count in enumerate(upto, 1):
        assert count == sum(length < number * found["bin"] for length in lengths)
    assert found["shortest"] <= found["median"] <= found["longest"]
    assert sum(length <= found["p95"] for length in lengths) >= 0.95 * len(lengths)


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
