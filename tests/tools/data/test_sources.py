"""Sources: what they give, and that every fault names its file, line and remedy."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import jsonl, maker
from tools.data import skills, sources
from tools.data.faults import faults
from tools.data.render import Pair
from tools.data.rows import Stored
from tools.data.skills import SKILLS, Question
from tools.data.sources import Limits
from tools.errors import UserError
from tools.recipe.schema import Source

GOOD = [{"prompt": f"{n} + 1 =", "completion": f" {n + 1}"} for n in range(5)]


def write(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def found(source: Source, held: int = 0, seed: int = 0, max_words: int = 100) -> sources.Found:
    folder = Path(tempfile.gettempdir())
    return sources.read("mine", source, held, Limits(max_words, str(seed)), folder)


def read(source: Source, held: int = 0, seed: int = 0) -> list[Pair]:
    """As plain pairs, which can be compared."""
    pairs = found(source, held, seed).pairs
    return [Pair(p.source, p.prompt, p.completion, p.question) for p in pairs]


def refusal(source: Source, held: int = 0) -> str:
    with pytest.raises(UserError) as caught:
        read(source, held)
    (fault,) = caught.value.faults
    return fault


def test_faults_are_told_all_at_once() -> None:
    found = faults({"a": maker("boxs"), "b": maker("counting", None), "c": maker("boxes")})
    assert [fault.split(":")[0] for fault in found] == [
        "data.sources.a.path",
        "data.sources.b.rows",
    ]
    assert "did you mean boxes?" in found[0] and "counting" in found[0]
    (levels,) = faults({"a": maker("ordering:6")})
    assert levels.startswith("data.sources.a.path: 'ordering:6': ordering has levels 1 to 5")


def test_a_maker_at_some_levels() -> None:
    made = read(maker("ordering:4-5", 30))
    found = {p.question.difficulty for p in made if p.question}
    assert found == {4, 5} and len(made) == 30


def test_a_maker_has_no_field_of_difficulty() -> None:
    odd = maker("boxes")
    odd.difficulty = "level"
    (fault,) = faults({"a": odd})
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
    pairs = found(jsonl(file, difficulty="level")).pairs
    assert sorted(pair.hardness or 0 for pair in pairs) == [1.5, 2.0]
    assert {pair.hardness for pair in found(jsonl(file)).pairs} == {None}
    assert {pair.length for pair in pairs} == {9}


def test_a_path_through_a_tree_has_no_difficulty(tmp_path: Path) -> None:
    source = Source("local", str(tmp_path), "MIT", "human", shape="tree", difficulty="level")
    (fault,) = faults({"a": source})
    assert fault.startswith("data.sources.a.difficulty: a path through a tree is of many records")


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
    made = read(jsonl(file))
    assert sorted(p.completion for p in made) == [" 1", " 2", " 3", " 4", " 5"]  # the twin is gone
    assert made == read(jsonl(file)) and made != read(jsonl(file), seed=3)
    assert {(p.source, p.question) for p in made} == {("mine", None)}
    assert len(read(jsonl(file, rows=2), held=1)) == 3


def test_templates_reach_into_fields(tmp_path: Path) -> None:
    row = {"q": "Who?", "choices": {"text": ["a", "b"]}}
    file = write(tmp_path / "rows.jsonl", row)
    (made,) = read(jsonl(file, prompt="{q}\nA. {choices[text][0]}", completion=" {{A}}"))
    assert (made.prompt, made.completion) == ("Who?\nA. a", " {A}")


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
        (b'{"prompt": "a", "completion": "b"}', "{prompt[x]}"),
        ('{"prompt": "\u00e9", "completion": "b"}'.encode("latin-1"), "{prompt}"),
    ],
)
def test_faulty_row_or_template(line: bytes, prompt: str, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(line)
    with pytest.raises(UserError, match=r"x\.jsonl:1: "):
        read(jsonl(file, prompt=prompt))


@pytest.mark.parametrize("prompt", ["{prompt} {", "{prompt.x}", "{prompt!r}"])
def test_a_faulty_template_is_the_recipes(prompt: str, tmp_path: Path) -> None:
    source = jsonl(write(tmp_path / "x.jsonl", GOOD[0]), prompt=prompt)
    (fault,) = faults({"mine": source})
    assert fault.startswith("data.sources.mine.prompt: ")
    assert refusal(source).startswith("data.sources.mine: ")


def test_rows_read_are_counted_before_any_is_left_out(tmp_path: Path) -> None:
    texts = ("one", "one", "two", "long " * 200)
    rows = [{"prompt": text, "completion": " c"} for text in texts]
    made = found(jsonl(write(tmp_path / "rows.jsonl", *rows)))
    assert len(made.pairs) == 2 and made.account.read == 4
    assert made.account.left == {sources.TWICE: 1, f"{sources.LONG} 100": 1}
    assert made.account.first[sources.TWICE] == f"{tmp_path / 'rows.jsonl'}:2"


def test_what_a_maker_made_is_counted() -> None:
    made = found(maker("places", 40))
    assert made.account.read >= len(made.pairs) == 40
    assert made.account.read - sum(made.account.left.values()) == 40


def test_fields_that_are_asked_for_stay_with_the_row(tmp_path: Path) -> None:
    rows = [{**GOOD[0], "kind": "sum", "n": 3, "z": None}]
    source = jsonl(write(tmp_path / "rows.jsonl", *rows))
    limits = Limits(100, "0", fields=frozenset({"kind", "n", "z", "gone"}))
    (made,) = sources.read("mine", source, 0, limits, tmp_path).pairs
    assert isinstance(made, Stored)
    assert made.fields == {"kind": "sum", "n": "3"}
    assert made.place == f"{tmp_path / 'rows.jsonl'}:1" and made.question is None


def test_a_key_of_the_hub_on_a_file_is_a_fault(tmp_path: Path) -> None:
    source = jsonl(write(tmp_path / "rows.jsonl", *GOOD), split="test", subset="main")
    keys = [fault.split(":")[0] for fault in faults({"mine": source})]
    assert keys == ["data.sources.mine.subset", "data.sources.mine.split"]


def test_a_row_without_an_answer_is_left_out_and_told(tmp_path: Path) -> None:
    rows = [*GOOD, {"prompt": "x", "completion": "  "}, {"prompt": " ", "completion": "y"}]
    made = found(jsonl(write(tmp_path / "rows.jsonl", *rows)))
    assert len(made.pairs) == 5
    assert made.account.left == {"without an answer": 1, "without a question": 1}


def test_a_prompt_that_ends_in_a_blank_is_refused_by_its_row(tmp_path: Path) -> None:
    rows = [*GOOD, {"prompt": "2 + 2 = ", "completion": "4"}]
    fault = refusal(jsonl(write(tmp_path / "rows.jsonl", *rows)))
    assert fault.startswith(f"{tmp_path / 'rows.jsonl'}:6: its prompt ends in a blank")


def test_values_that_are_no_texts_are_written_as_json(tmp_path: Path) -> None:
    row = {"prompt": ["x", {"y": True}], "completion": 1.0}
    (made,) = read(jsonl(write(tmp_path / "rows.jsonl", row)))
    assert (made.prompt, made.completion) == ('["x", {"y": true}]', "1.0")


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([" A", " B", " (C)"], "letter"),
        ([" 12", " -3.5", " 1,000"], "number"),
        ([" So. The answer is 7."], "number"),
        ([" Paris", " New York"], "string"),
        ([" It is a town on the river Seine, in the north of France."], "text"),
    ],
)
def test_the_kind_of_answers_is_told_by_the_rows(
    answers: list[str], kind: str, tmp_path: Path
) -> None:
    rows = [{"prompt": f"q{n}?", "completion": text} for n, text in enumerate(answers * 5)]
    source = Source("local", str(write(tmp_path / "rows.jsonl", *rows)), "MIT", "human")
    assert found(source).answers == kind
    assert found(source.__class__(**{**vars(source), "answer": "text"})).answers == "text"
