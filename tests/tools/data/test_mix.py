"""Weights and order: how often each question is learnt, and when."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import changed, jsonl, make_run, maker, recipe
from tools.data.mix import Block, arranged, times
from tools.data.prepare import prepare
from tools.data.render import Pair, pair
from tools.data.skills import Question
from tools.recipe.schema import Data, Order
from tools.run.folder import Run

ROWS = 10


def data(order: Order = "shuffled", seed: int = 1, shots: int = 3, **weights: float) -> Data:
    sources = {name: maker("counting") for name in ("a", "b")}
    for name, weight in weights.items():
        sources[name] = changed(sources[name], "weight", weight)
    made = Data(sources, seed, shots, 6, 5, 100)
    return changed(made, "order", order)


def question(source: str, number: int) -> Pair:
    return Pair(source, f"{number}?" + "x" * number, " y", Question("", "", "string"))


def singles() -> list[Block]:
    """Ten questions of each of two sources, a row each, mixed."""
    return [[question(name, number)] for number in range(ROWS) for name in "ab"]


def learnt(rows: list[Block], source: str) -> Counter[str]:
    return Counter(pair.prompt for row in rows for pair in row if pair.source == source)


def test_without_a_weight_and_an_order_nothing_is_touched() -> None:
    assert arranged(singles(), data()) == singles()


@pytest.mark.parametrize(
    ("weight", "wanted"), [(2, 20), (3.0, 30), (2.5, 25), (0.5, 5), (0.25, 2), (0.01, 1), (1.1, 11)]
)
def test_a_question_is_learnt_as_often_as_its_weight_says(weight: float, wanted: int) -> None:
    counts = learnt(arranged(singles(), data(a=weight)), "a")
    assert sum(counts.values()) == wanted == times(ROWS, weight)
    assert set(counts.values()) <= {int(weight), int(weight) + 1}
    assert len(counts) == ROWS or weight < 1
    assert set(learnt(arranged(singles(), data(a=weight)), "b").values()) == {1}


def test_the_whole_part_is_every_row_as_it_was_and_no_row_holds_a_question_twice() -> None:
    made = arranged(singles(), data(a=3))
    assert all(row in made for row in singles())
    assert any(len(row) > 1 for row in made), "copies are dealt anew"
    assert all(len({pair.prompt for pair in row}) == len(row) <= 3 for row in made)
    assert all(len({pair.source for pair in row}) == 1 for row in made)


def test_the_seed_decides_and_one_source_moves_no_draw_of_another() -> None:
    def sample(**options: Any) -> Counter[str]:
        return learnt(arranged(singles(), data(**options)), "a")

    assert sample(a=0.5) == sample(a=0.5) == sample(a=0.5, b=4.0)
    assert sample(a=0.5) != sample(a=0.5, seed=2)
    assert arranged(singles(), data(a=0.5)) == arranged(singles(), data(a=0.5))


def test_nothing_of_nothing() -> None:
    assert (times(0, 2.5), times(0, 0.1), times(1, 0.1)) == (0, 0, 1)
    assert arranged([[question("b", 1)]], data(a=2.0)) == [[question("b", 1)]]


def test_listed_goes_source_by_source() -> None:
    made = arranged(singles()[::-1], data("listed"))
    assert [row[0].source for row in made] == ["a"] * ROWS + ["b"] * ROWS
    assert [row for row in made if row[0].source == "a"] == singles()[::-1][1::2], "shuffled inside"


def test_easy_first_takes_all_sources_at_once_each_from_its_easiest() -> None:
    short: list[Block] = [[Pair("a", "x" * number, "")] for number in (3, 1, 2)]
    long: list[Block] = [[Pair("b", "x" * number, "")] for number in (300, 100, 200)]
    made = arranged([*long, *short], data("easy-first"))
    assert [pair.length for row in made for pair in row] == [1, 100, 2, 200, 3, 300]


def test_easy_first_goes_by_the_difficulty_where_there_is_one() -> None:
    levels = [Pair("a", "x" * number, "", hardness=-number) for number in (3, 1, 2)]
    made = arranged([[pair] for pair in levels], data("easy-first"))
    assert [row[0].hardness for row in made] == [-3, -2, -1]


def test_easy_first_goes_by_the_level_of_a_makers_question_and_a_row_by_its_hardest() -> None:
    made = [pair("a", Question("?", "x", "string", difficulty=level)) for level in (3, 1, 2)]
    assert [one.hardness for one in made] == [3, 1, 2]
    rows: list[Block] = [[made[1], made[0]], [made[2]]]
    assert arranged(rows, data("easy-first")) == rows[::-1]
    assert pair("a", Question("?", "x", "string")).hardness is None


@pytest.mark.parametrize("order", ["shuffled", "listed", "easy-first"])
def test_a_weight_holds_in_any_order(order: Order) -> None:
    assert set(learnt(arranged(singles(), data(order, a=2.0)), "a").values()) == {2}


def prepared(root: Path, **values: Any) -> Run:
    run = make_run(root, **values)
    prepare(run)
    return run


def content(run: Run, name: str) -> list[dict[str, Any]]:
    lines = (run.output("data") / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


MIX = {"counting": maker("counting", 40), "places": maker("places", 50)}


def test_what_is_held_out_is_neither_weighted_nor_moved(tmp_path: Path) -> None:
    plain = prepared(tmp_path / "plain", data__sources=MIX)
    heavy = {**MIX, "counting": changed(MIX["counting"], "weight", 2.5)}
    run = prepared(tmp_path / "heavy", data__sources=heavy, data__order="easy-first")
    for name in ("validation", "test", "shots"):
        assert content(run, name) == content(plain, name), name
    held = {s["text"] for row in content(run, "validation") for s in row["segments"]}
    held = {text.strip() for text in held if "Question:" in text}
    seen = Counter(
        s["text"].strip()
        for row in content(run, "train")
        if row["skill"] == "counting"
        for s in row["segments"]
        if not s["label"]
    )
    assert sum(seen.values()) == 100 and set(seen.values()) == {2, 3} and len(seen) == 40
    assert not held & seen.keys()


def test_the_table_tells_rows_in_weight_and_rows_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heavy = {**MIX, "places": changed(MIX["places"], "weight", 0.5)}
    run = prepared(tmp_path, data__sources=heavy, data__order="listed")
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    table = table[next(n for n, line in enumerate(table) if line[:1] == ["source"]) :]
    table = [line for line in table if line[0] in ("source", "counting", "places", "order:")]
    assert table[0][-3:] == ["weight", "an", "epoch"]
    assert table[1][0] == "counting" and table[1][-2:] == ["1", "40"] and table[1][2] == "40"
    assert table[2][0] == "places" and table[2][-2:] == ["0.5", "25"] and table[2][2] == "50"
    assert table[3][:2] == ["order:", "listed,"]
    record = run.record("data")
    assert record and record["metrics"]["epoch"] == {"counting": 40, "places": 25}
    assert record["metrics"]["by_source"] == {"counting": 40, "places": 50}


def test_a_rows_own_difficulty(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"Say {n}.", "completion": " y", "level": str(-n)} for n in range(12)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = jsonl(file, difficulty="level")
    mine = recipe(data__sources={"mine": source}, data__order="easy-first", data__test_rows=0)
    run = Run(mine, tmp_path)
    prepare(run)
    said = [int(row["segments"][0]["text"][4:-1]) for row in content(run, "train")]
    assert said == sorted(said, reverse=True) and len(said) == 6
