"""Operators that choose: what stays is what was asked for, in its order; the rest is counted."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.curate.rows import places, table
from tools.curate.choose import allow, deny, filter_, intersect, sample, split
from tools.curate.result import Result
from tools.errors import UserError
from tools.recipe.operators.declared import Allow, Deny, Filter, Intersect, Sample, Split


def numbered(count: int, **fields: list[Any]) -> pa.Table:
    return table(*[(f"q {n}", f" a{n}") for n in range(count)], **fields)


TASKS = numbered(4, task=["task13_a", "task2_b", None, "task13_c"])


def test_allow_and_deny_part_the_rows() -> None:
    one = allow(TASKS, 0, Allow("task", ["task13*", "other"]))
    other = deny(TASKS, 0, Deny("task", ["task13*", "other"]))
    assert (places(one.rows), places(other.rows)) == ([1, 4], [2, 3])
    assert one.left == {"task is not allowed": 2} and other.left == {"task is denied": 2}
    assert [each.place for each in other.examples] == ["mine:1", "mine:4"]


def test_a_field_that_is_not_there() -> None:
    with pytest.raises(
        UserError, match=r"allow.column: no field 'tsk'; did you mean task\?; the rows have prompt"
    ):
        allow(TASKS, 0, Allow("tsk", ["x"]))


def test_intersect(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("task2_b\n\ntask13_c\n")
    result = intersect(TASKS, 0, Intersect("task", str(file)))
    assert places(result.rows) == [2, 4] and result.left == {"task is not in ids.txt": 2}
    with pytest.raises(UserError, match="nowhere"):
        intersect(TASKS, 0, Intersect("task", str(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (Filter(min_words=3), [2, 3]),
        (Filter(max_words=3), [1, 2]),
        (Filter("prompt", max_words=1), [1]),
        (Filter("completion", min_characters=3), [2, 3]),
        (Filter(max_characters=6), [1]),
        (Filter(matches=r"\bfour\b"), [3]),
        (Filter("prompt", lacks="o"), []),
        (Filter(max_words=4, lacks="three"), [1]),
    ],
)
def test_filters(options: Filter, left: list[int]) -> None:
    rows = table(("one", " a"), ("one two", " three"), ("one two three", " four five"))
    result = filter_(rows, 0, options)
    assert places(result.rows) == left
    assert sum(result.left.values()) == 3 - len(left)


def test_a_row_that_leaves_has_one_reason() -> None:
    rows = table(("a b c d", " x"), ("a", " y"), ("a b", " long"))
    result = filter_(rows, 0, Filter(max_words=3, lacks="x|long"))
    assert result.left == {"more than 3 words": 1, "'x|long' found": 1}


def test_languages() -> None:
    texts = {
        "en": "What is the name of the river that flows to the sea, and who lives in it?",
        "de": "Wie heißt der Fluss, der in das Meer fließt, und wer lebt nicht in ihm?",
        "fr": "Quel est le nom de la rivière qui coule dans la mer, et qui vit dans cette eau?",
    }
    rows = table(
        *[(text, " x") for text in texts.values()], ("42", " 7"), ("это не по-русски?", " нет")
    )
    for number, name in enumerate(texts, 1):
        result = filter_(rows, 0, Filter("prompt", language=name))  # type: ignore[arg-type]
        assert places(result.rows) == [number, 4], "what is too short to tell stays"


def test_tokens(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    made = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    rows = table(("a, b", " c"), ("a b", " c"))
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        result = filter_(rows, 0, Filter(max_tokens=3, tokenizer=str(path)))
        assert places(result.rows) == [2] and result.left == {"more than 3 tokens": 1}
    with pytest.raises(UserError, match="no tokenizer"):
        filter_(rows, 0, Filter(max_tokens=3, tokenizer=str(tmp_path / "none.json")))


def test_broken_filters_find_no_rows() -> None:
    assert filter_(numbered(0), 0, Filter(max_words=1)).left == {}


@given(count=st.integers(0, 30), n=st.integers(1, 40), seed=st.integers(0, 5))
def test_a_sample_is_what_the_seed_draws(count: int, n: int, seed: int) -> None:
    one, two = (sample(numbered(count), seed, Sample(n=n)) for _ in range(2))
    left = places(one.rows)
    assert left == places(two.rows) == sorted(set(left))
    assert len(left) == min(n, count)
    assert sum(one.left.values()) == count - len(left)


def test_another_seed_draws_others() -> None:
    draws = {tuple(places(sample(numbered(20), seed, Sample(share=0.5)).rows)) for seed in range(5)}
    assert len(draws) == 5 and all(len(one) == 10 for one in draws)


def test_buckets_are_as_large_as_each_other_where_they_can() -> None:
    kinds = ["a"] * 20 + ["b"] * 6 + ["c"] * 2
    result = sample(numbered(28, kind=kinds), 1, Sample(n=15, by="kind"))
    found = result.rows.column("kind").to_pylist()
    assert {kind: found.count(kind) for kind in "abc"} == {"a": 7, "b": 6, "c": 2}


def test_by_score() -> None:
    rows = numbered(4, score=[0.5, 1.0, 0.1, 0.7])
    assert places(sample(rows, 0, Sample(n=2, order="highest")).rows) == [2, 4]
    assert places(sample(rows, 0, Sample(n=2, order="lowest")).rows) == [1, 3]
    wrong = sample(rows, 0, Sample(below=1.0))
    assert places(wrong.rows) == [1, 3, 4] and wrong.left == {"score not below 1": 1}
    assert len(places(sample(rows, 0, Sample(below=1.0, share=0.34)).rows)) == 1
    with pytest.raises(UserError, match="put the operator score before it"):
        sample(numbered(2), 0, Sample(below=1.0))


@given(st.lists(st.text("abc ", max_size=3), max_size=20), st.floats(0.1, 0.9))
def test_the_parts_of_a_split_share_no_prompt(prompts: list[str], cut: float) -> None:
    rows = table(*[(prompt, " x") for prompt in prompts])

    def part(start: float, stop: float) -> Result:
        return split(rows, 0, Split(start, stop))

    one, other = part(0, cut), part(cut, 1)
    assert sorted(places(one.rows) + places(other.rows)) == list(range(1, len(prompts) + 1))
    shown = [
        set(" ".join(p.split()) for p in x.rows.column("prompt").to_pylist()) for x in (one, other)
    ]
    assert not shown[0] & shown[1]


def test_a_split_is_about_as_large_as_it_says() -> None:
    left = split(numbered(2000), 0, Split(0.2, 0.5)).rows.num_rows
    assert 540 <= left <= 660
