"""Lengths: every row is in one bin, and counted for its own source."""

import json
from itertools import accumulate
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from serve.text import TextCodec
from tests.tiny import jsonl, make_run, maker
from tools.data import tokens
from tools.data.prepare import prepare
from tools.preview.lengths import BINS, Measure, by_source, histogram, source_of


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


def test_each_source_is_measured_by_its_own_rows(
    folders: dict[str, Path], tmp_path: Path, codecs: dict[str, TextCodec]
) -> None:
    rows = [{"prompt": f"Why {n}?", "completion": " So."} for n in range(40)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = make_run(tmp_path, data__sources={"mine": jsonl(file), "counting": maker("counting")})
    prepare(run)
    tokens.files(run, folders["byte_level"])
    told: list[int] = []
    found = by_source(run, told.append)
    wanted: dict[str, Measure] = {}
    for line in (run.output("data") / "train.jsonl").read_text().splitlines():
        row = json.loads(line)
        made = tokens.encode(codecs["byte_level"], row["segments"])["labels"]
        learnt = sum(label != tokens.IGNORED for label in made)
        wanted.setdefault(row["skill"], Measure()).add(len(made), learnt)
        assert source_of(line) == row["skill"]
    assert found == wanted and found.keys() == {"mine", "counting"}
    assert all(0 < one.share < 1 and one.tokens == sum(one.lengths) for one in found.values())
    assert sum(told) == tokens.paths(run)["train"].stat().st_size
    assert Measure().share == 0
