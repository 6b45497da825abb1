"""Every shape in its sets' real formats: what is told, how many rows, what is learnt of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tools.data.shapes import real
from tools.data.sources import Found, Limits, read
from tools.recipe.schema import Source


def found(folder: Path, name: str, content: bytes, **keys: Any) -> Found:
    (folder / name).write_bytes(content)
    source = Source("local", str(folder / name), "MIT", "human", **keys)
    return read("s", source, 0, Limits(1000, "1/s"), folder)


def of(folder: Path, name: str, **more: Any) -> Found:
    file, content, keys, _, _ = real.FORMATS[name]
    return found(folder, file, content(), **{**keys, **more})


def texts(one: Found) -> dict[str, list[tuple[str, bool]]]:
    """Segments of each row, by the row's first text."""
    rows = [item.segments() for item in one.pairs]
    return {row[0]["text"]: [(part["text"], part["label"]) for part in row] for row in rows}


@pytest.mark.parametrize("name", real.FORMATS)
def test_a_real_format_is_read_and_its_shape_told(name: str, tmp_path: Path) -> None:
    *_, shape, count = real.FORMATS[name]
    one = of(tmp_path, name)
    (told,) = one.account.told
    assert f"shape {shape}" in told
    assert len(one.pairs) == count
    for item in one.pairs:
        assert item.completion.strip() and (item.prompt.strip() or shape == "text")
        assert any(part["label"] for part in item.segments())


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("dolly", "dolly in gzip"),
        ("dolly", "dolly as Parquet"),
        ("dolly", "dolly in zstandard"),
        ("Alpaca", "Alpaca indented"),
        ("Alpaca", "CSV with BOM"),
        ("OpenBookQA", "OpenBookQA as Parquet"),
    ],
)
def test_a_format_changes_no_row(a: str, b: str, tmp_path: Path) -> None:
    assert sorted(texts(of(tmp_path, a)).items()) == sorted(texts(of(tmp_path, b)).items())


def test_an_empty_context_takes_its_line(tmp_path: Path) -> None:
    rows = texts(of(tmp_path, "dolly"))
    assert "Question: When did company 2 start?\nAnswer:" in rows
    assert "Question: When did company 3 start?\nCompany 3 started in 1903.\nAnswer:" in rows


def test_the_best_path_of_a_tree(tmp_path: Path) -> None:
    flat, trees = (texts(of(tmp_path, f"OASST1 {kind}")) for kind in ("messages", "trees"))
    assert sorted(flat) == sorted(trees)
    asked = "Question: How do I do thing 1?\nAnswer:"
    assert (
        flat[asked]
        == trees[asked]
        == [
            (asked, False),
            (" Best 1.", True),
            ("\n\nQuestion: And then, 1?\nAnswer:", False),
            (" Rest, 1.", True),
        ]
    )
    deleted = "Question: How do I do thing 7?\nAnswer:"
    assert flat[deleted] == [(deleted, False), (" Best 7.", True)]


def test_what_left_a_tree_is_told(tmp_path: Path) -> None:
    account = of(tmp_path, "OASST1 messages").account
    assert account.read == 200
    assert account.left == {
        "not of language en": 40,
        "a better ranked answer beside it": 32,
        "deleted": 1,
        "joined into a conversation": 95,
    }
    assert account.read - sum(account.left.values()) == 32


def test_all_turns_of_a_chat_or_the_last(tmp_path: Path) -> None:
    first = "You are kind.\n\nQuestion: Hi 3\nAnswer:"
    second = "\n\nQuestion: And 3 more?\nAnswer:"
    rows = texts(of(tmp_path, "ShareGPT"))
    assert rows[first] == [
        (first, False),
        (" Hello 3", True),
        (second, False),
        (" Yes, 3 more.", True),
    ]
    whole = f"{first} Hello 3{second}"
    assert texts(of(tmp_path, "ShareGPT", learn="last"))[whole] == [
        (whole, False),
        (" Yes, 3 more.", True),
    ]


def test_a_chat_in_words_of_ones_own(tmp_path: Path) -> None:
    form = {"prompt": "User: {user}\nBot:", "completion": " {assistant}", "shape": "messages"}
    rows = texts(of(tmp_path, "messages", **form))
    assert rows["User: Hi 3\nBot:"][-1] == (" Yes, 3 more.", True)  # "Thanks." has no answer


def test_quac_leaves_out_what_cannot_be_answered(tmp_path: Path) -> None:
    lead = "About 3.\n\nIt was 3.\n\nQuestion: What was it?\nAnswer:"
    assert texts(of(tmp_path, "QuAC"))[lead] == [
        (lead, False),
        (" It was 3.", True),
        ("\n\nQuestion: Sure?\nAnswer:", False),
        (" Yes.", True),
    ]


def test_choices_are_letters_in_an_order_that_the_seed_draws(tmp_path: Path) -> None:
    one = of(tmp_path, "OpenBookQA")
    assert one.answers == "letter"
    questions = [item.question for item in one.pairs]
    orders = set()
    for item, question in zip(one.pairs, questions, strict=True):
        assert question is not None
        orders.add(question.choices)
        assert item.completion == f" {'ABCD'[question.choices.index(question.output)]}"
        assert f"\nA. {question.choices[0]}\n" in item.prompt
    assert len(orders) > 5
    assert questions == [item.question for item in of(tmp_path, "OpenBookQA").pairs]


def test_none_of_the_above_stays_where_it_is(tmp_path: Path) -> None:
    for item in of(tmp_path, "MMLU").pairs:
        assert item.prompt.endswith("\nA. yes\nB. no\nC. none of the above\nAnswer:")


def test_an_array_may_be_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n} é" + "x" * 5000, "completion": " c"} for n in range(300)]
    one = found(tmp_path, "a.json", json.dumps(rows, ensure_ascii=False).encode())
    assert len(one.pairs) == 300


def test_several_files_of_several_formats(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "README.md").write_text("# not a row")
    for name in ("dolly", "dolly as Parquet", "dolly in gzip"):
        file, content, *_ = real.FORMATS[name]
        (folder / file).write_bytes(content())
    source = Source("local", str(folder), "MIT", "human")
    one = read("s", source, 0, Limits(1000, "1/s"), tmp_path)
    assert one.account.read == 180 and len(one.pairs) == 60
    some = Source("local", str(folder), "MIT", "human", files=["*.gz", "*.parquet"])
    assert read("s", some, 0, Limits(1000, "1/s"), tmp_path).account.read == 120
