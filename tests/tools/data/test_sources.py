"""Sources: what they give, and that every fault names its file, line and remedy."""

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import jsonl, maker
from tools.data import skills, sources
from tools.data.render import Pair
from tools.data.skills import SKILLS, Question
from tools.errors import UserError
from tools.recipe.operators import Allow, Deny, Step
from tools.recipe.schema import Source

GOOD = [{"prompt": f"{n} + 1 =", "completion": f" {n + 1}"} for n in range(5)]


def write(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(source: Source, held: int = 0, seed: int = 0) -> list[Pair]:
    return sources.read("mine", source, held, random.Random(seed), max_words=100)


def refusal(source: Source, held: int = 0) -> str:
    with pytest.raises(UserError) as caught:
        read(source, held)
    (fault,) = caught.value.faults
    return fault


def test_faults_are_told_all_at_once() -> None:
    found = sources.faults({"a": maker("boxs"), "b": maker("counting", None), "c": maker("boxes")})
    assert [fault.split(":")[0] for fault in found] == [
        "data.sources.a.path",
        "data.sources.b.rows",
    ]
    assert "did you mean boxes?" in found[0] and "counting" in found[0]
    (levels,) = sources.faults({"a": maker("ordering:6")})
    assert levels.startswith("data.sources.a.path: 'ordering:6': ordering has levels 1 to 5")


def test_a_maker_at_some_levels() -> None:
    made = read(maker("ordering:4-5", 30))
    found = {p.question.difficulty for p in made if p.question}
    assert found == {4, 5} and len(made) == 30


def test_a_maker_has_no_field_of_difficulty() -> None:
    odd = maker("boxes")
    odd.difficulty = "level"
    (fault,) = sources.faults({"a": odd})
    assert fault.startswith("data.sources.a.difficulty: a maker's questions have no fields")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"levle": 1}, "no such field; did you mean levle?; the row has prompt, completion, levle"),
        ({"level": "hard"}, "that is 'hard', no number"),
        ({"level": True}, "that is True, no number"),
        ({"level": [1]}, "that is [1], no number"),
        ({"level": "nan"}, "that is 'nan', no number"),
        ({"level": None}, "no such field"),
    ],
)
def test_a_difficulty_is_a_number(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", {**GOOD[0], "level": 1.5}, {**GOOD[1], **row})
    fault = refusal(jsonl(file, difficulty="level"))
    assert fault.startswith(f"{file}:2: ") and "(data.sources.mine.difficulty)" in fault
    assert said in fault


def test_the_difficulty_of_a_row(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", {**GOOD[0], "level": 1.5}, {**GOOD[1], "level": "2"})
    found = read(jsonl(file, difficulty="level"))
    assert sorted(pair.hardness or 0 for pair in found) == [1.5, 2.0]
    assert {pair.hardness for pair in read(jsonl(file))} == {None}


def test_a_maker_gives_different_questions_and_the_same_again() -> None:
    made = read(maker("counting", 40), held=10)
    assert len(made) == 50 == len({p.prompt for p in made})
    assert made == read(maker("counting", 40), held=10)
    assert made != read(maker("counting", 40), held=10, seed=1)


def test_a_maker_that_runs_out_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"few": lambda rng: Question(f"Q{rng.randrange(3)}", "x", "string")}
    monkeypatch.setattr(skills, "SKILLS", {**SKILLS, **few})
    assert len(read(maker("few", 2), held=1)) == 3
    fault = refusal(maker("few", 2), held=2)
    assert fault.startswith("data.sources.mine.rows: 4 different rows wanted")
    assert "there are 3 of at most data.max_words" in fault


def test_jsonl_rows(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", *GOOD, "", GOOD[0])
    found = read(jsonl(file))
    assert sorted(p.completion for p in found) == [" 1", " 2", " 3", " 4", " 5"]  # the twin is gone
    assert found == read(jsonl(file)) and found != read(jsonl(file), seed=3)
    assert {(p.source, p.question) for p in found} == {("mine", None)}
    assert len(read(jsonl(file, rows=2), held=1)) == 3


def test_templates_reach_into_fields(tmp_path: Path) -> None:
    row = {"q": "Who?", "choices": {"text": ["a", "b"]}}
    file = write(tmp_path / "rows.jsonl", row)
    (found,) = read(jsonl(file, prompt="{q}\nA. {choices[text][0]}", completion=" {{A}}"))
    assert (found.prompt, found.completion) == ("Who?\nA. a", " {A}")


FAULTY = {
    "bad JSON": ('{"prompt": "x",', ":2: not JSON ("),
    "no object": ("[1, 2]", ":2: not an object; data.sources.mine wants one object a line"),
    "field missing": (
        {"prompt": "x", "complettion": "y"},
        ":2: no field 'completion' for the template of data.sources.mine; "
        "did you mean complettion?; the row has prompt, complettion",
    ),
    "unlike row": ({"text": "x"}, ":2: no field 'prompt'"),
}


@pytest.mark.parametrize(("row", "said"), FAULTY.values(), ids=FAULTY)
def test_a_faulty_row_is_named_by_file_and_line(row: Any, said: str, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", GOOD[0], row, GOOD[1])
    assert refusal(jsonl(file)).startswith(f"{file}{said}")


def test_too_few_rows(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", *GOOD)
    fault = refusal(jsonl(file, rows=4), held=2)
    assert "data.sources.mine.rows: 6 different rows wanted" in fault and "there are 5" in fault


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set as a folder, the library's cache out of the way."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl", *GOOD)
    write(folder / "test.jsonl", {"prompt": "held", "completion": " out"})
    return folder


def test_a_hub_set(hub: Path) -> None:
    source = Source("hub", str(hub), "MIT", "human")
    assert sorted(p.completion for p in read(source)) == [" 1", " 2", " 3", " 4", " 5"]
    (held,) = read(Source("hub", str(hub), "MIT", "human", split="test"))
    assert held.prompt == "held"


def test_hub_faults(hub: Path) -> None:
    place = "data.sources.mine.path: cannot load"
    split = refusal(Source("hub", str(hub), "MIT", "human", split="tset"))
    assert split.startswith(f"{place} {hub} (") and "tset" in split and "check path" in split
    assert refusal(Source("hub", "own/nowhere", "MIT", "human")).startswith(f"{place} own/nowhere")
    field = refusal(Source("hub", str(hub), "MIT", "human", prompt="{promt}"))
    assert field.startswith(f"{hub} row 0: no field 'promt'") and "did you mean prompt?" in field


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        (b'{"prompt": null, "completion": "b"}', "{prompt}"),  # it would train on the word None
        (b'{"prompt": "a", "completion": "b"}', "{prompt} {"),
        (b'{"prompt": "a", "completion": "b"}', "{prompt.x}"),
        ('{"prompt": "\u00e9", "completion": "b"}'.encode("latin-1"), "{prompt}"),
    ],
)
def test_faulty_row_or_template(line: bytes, prompt: str, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(line)
    with pytest.raises(UserError, match=r"x\.jsonl:1: "):
        read(jsonl(file, prompt=prompt))


def test_rows_read_are_counted_before_any_is_left_out(tmp_path: Path) -> None:
    texts = ("one", "one", "two", "long " * 200)
    rows = [{"prompt": text, "completion": "c"} for text in texts]
    source, tally = jsonl(write(tmp_path / "rows.jsonl", *rows)), Counter[str]()
    kept = sources.read("mine", source, 0, random.Random(0), max_words=100, tally=tally)
    assert len(kept) == 2 and tally == {"mine": 4}


def test_what_a_maker_made_is_counted() -> None:
    tally = Counter[str]()
    made = sources.read("x", maker("places", 40), 0, random.Random(0), max_words=100, tally=tally)
    assert tally["x"] >= len(made) == 40


TASKS = [
    {"task": task, "prompt": f"{task} {n}", "completion": " x"}
    for task in ("task1_mmlu", "task2_sums", "task3_sums") for n in range(3)
]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([{"deny": Deny("task", ["*_mmlu", "task3_*"])}], {"task2_sums"}),
        ([{"allow": Allow("task", ["*_sums"])}], {"task2_sums", "task3_sums"}),
        (
            [{"allow": Allow("task", ["*_sums"])}, {"deny": Deny("task", ["task2*"])}],
            {"task3_sums"},
        ),
        ([{"deny": Deny("task", ["sums", "TASK1*"])}], {"task1_mmlu", "task2_sums", "task3_sums"}),
    ],
)
def test_rows_are_left_out_by_a_field(
    steps: list[Step], left: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read(jsonl(write(tmp_path / "rows.jsonl", *TASKS), operators=steps))
    assert {p.prompt.split()[0] for p in found} == left and len(found) == 3 * len(left)
    told = capsys.readouterr()
    count = 9 - len(found)
    said = [line for line in (told.out + told.err).splitlines() if "left out" in line]
    assert sum(int(n) for line in said for n in re.findall(r"(\d+) by", line)) == count


def test_a_field_that_is_not_there(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", *TASKS)
    fault = refusal(jsonl(file, operators=[{"deny": Deny("tasks", ["x"])}]))
    assert fault == (
        f"{file}:1: no field 'tasks' for deny of data.sources.mine.operators; did you mean task?; "
        "the row has task, prompt, completion"
    )
