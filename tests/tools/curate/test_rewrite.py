"""Operators that write otherwise: the form that was asked for, no row changed without a word."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.curate.rows import places, table
from tools.curate.augment import augment, reordered
from tools.curate.rewrite import FORMS, answer_format, map_, repeat, strip
from tools.errors import UserError
from tools.recipe.operators.declared import AnswerFormat, Augment, Map, Repeat, Strip


def completions(rows: Any) -> list[str]:
    return rows.column("completion").to_pylist()


def prompts(rows: Any) -> list[str]:
    return rows.column("prompt").to_pylist()


@pytest.mark.parametrize(
    ("what", "text", "wanted"),
    [
        (
            "citations",
            "Rome[1] fell [2, 3] in 476.[a] So [citation needed].",
            "Rome fell in 476. So.",
        ),
        ("citations", "a[0] and [i, j], x[10000]", "a and [i, j], x[10000]"),
        ("calculator", "48/2 = <<48/2=24>>24 clips", "48/2 = 24 clips"),
        ("calculator", "a << b\nc >> d", "a << b\nc >> d"),
        ("tags", "<p>2 < 3</p> and <br/>", "2 < 3 and "),
        ("blank_lines", "Question: x\n\n\n  \nAnswer:", "Question: x\n\nAnswer:"),
        ("blank_lines", "a\n\nb\nc", "a\n\nb\nc"),
    ],
)
def test_strip(what: Any, text: str, wanted: str) -> None:
    result = strip(table((text, " x")), 0, Strip([what]))
    assert prompts(result.rows) == [wanted]
    assert result.changed == (text != wanted)


def test_stripped_to_nothing_leaves() -> None:
    result = strip(table(("[1] q", " [1]"), ("q", " a")), 0, Strip(["citations"], ["completion"]))
    assert places(result.rows) == [2] and prompts(result.rows) == ["q"]
    assert result.left == {"no completion is left when stripped": 1}


def test_map_by_values_and_by_pattern() -> None:
    rows = table(("a", " CANNOTANSWER"), ("b", " x"), kind=["one", None])
    result = map_(rows, 0, Map("completion", {"CANNOTANSWER": "unanswerable"}))
    assert completions(result.rows) == [" unanswerable", " x"] and result.changed == 1
    result = map_(rows, 0, Map("kind", pattern="(o)n", to=r"\1m"))
    assert result.rows.column("kind").to_pylist() == ["ome", None]
    with pytest.raises(UserError, match=r"map.to: '\\\\2' does not fit"):
        map_(rows, 0, Map("prompt", pattern="(a)", to=r"\2"))
    gone = map_(rows, 0, Map("completion", {"x": ""}))
    assert places(gone.rows) == [1] and gone.left == {"no completion is left when mapped": 1}


@pytest.mark.parametrize(
    ("form", "text", "wanted"),
    [
        ("letter", "B", "B"), ("letter", "b.", "B"), ("letter", "(C)", "C"), ("letter", "[D]", "D"),
        ("letter", "B. Football", "B"), ("letter", "The answer is (B).", "B"),
        ("letter", "Answer: D", "D"), ("letter", "the correct option is a", "A"),
        ("letter", "A dog", ""), ("letter", "Because", ""), ("letter", "AB", ""),
        ("letter", "I", "I"),
        ("number", "so 1,234 of 2,000.", "2000"), ("number", "#### -3.5", "-3.5"),
        ("number", "3/4", "3/4"), ("number", "none", ""), ("number", "in 1999, 12", "12"),
        ("boxed", r"x \boxed{1} so $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"), ("boxed", "1", ""),
        ("boxed", r"\boxed{1", ""), ("text", "as it is ", "as it is "),
        ("json", '{"a":\n 1}', '{"a": 1}'), ("json", "{a}", ""), ("json", "[" * 100_000, ""),
    ],
)  # fmt: skip
def test_forms(form: str, text: str, wanted: str) -> None:
    assert FORMS[form](text) == wanted


def test_answers_keep_the_blanks_before_them() -> None:
    rows = table(("q", " B. Football\n"), ("q", "The answer is C."), ("q", " Football"))
    result = answer_format(rows, 0, AnswerFormat("letter"))
    assert completions(result.rows) == [" B", "C"]
    assert (result.left, result.changed) == ({"no letter": 1}, 2)
    with pytest.raises(
        UserError, match="1 completions hold no letter; the first is mine:3: ' Foot"
    ):
        answer_format(rows, 0, AnswerFormat("letter", "refuse"))


@given(st.integers(2, 5), st.integers(0, 6))
def test_repeat(times: int, count: int) -> None:
    result = repeat(table(*[(f"q{n}", " a") for n in range(count)]), 0, Repeat(times))
    assert places(result.rows) == [n for n in range(1, count + 1) for _ in range(times)]
    assert result.added == count * (times - 1)


CHOICE = "A passage.\nA. First, of two\nQuestion: which?\nA. red\nB. green\nC. blue\nAnswer:"


@given(st.integers(0, 50), st.sampled_from("ABC"))
def test_the_letter_goes_with_its_option(seed: int, letter: str) -> None:
    right = dict(zip("ABC", ("red", "green", "blue"), strict=True))[letter]
    prompt, answer = reordered(CHOICE, f" {letter}", random.Random(seed))
    assert f"\n{answer.strip()}. {right}\n" in prompt
    assert sorted(prompt.split("\n")[3:6], key=lambda line: line[3:]) == [
        line for line in sorted(prompt.split("\n")[3:6], key=lambda line: line[3:])
    ]
    assert prompt.split("\n")[:3] == CHOICE.split("\n")[:3] and prompt.endswith("\nAnswer:")
    assert {line[3:] for line in prompt.split("\n")[3:6]} == {"red", "green", "blue"}
    assert [line[0] for line in prompt.split("\n")[3:6]] == list("ABC")


@pytest.mark.parametrize(
    ("prompt", "answer"), [("no options", " A"), (CHOICE, " red"), (CHOICE, " D")]
)
def test_what_has_no_options_stays(prompt: str, answer: str) -> None:
    assert reordered(prompt, answer, random.Random(0)) == (prompt, answer)


def test_the_seed_decides_which_rows_are_augmented() -> None:
    rows = table(*[(f"Q {n}", " a") for n in range(40)])
    options = Augment("lower_case", 0.5)
    one, two, other = (augment(rows, seed, options) for seed in (1, 1, 2))
    assert prompts(one.rows) == prompts(two.rows) != prompts(other.rows)
    assert places(one.rows) == list(range(1, 41)) and 8 <= one.changed <= 32
    assert one.changed == sum(text.startswith("q") for text in prompts(one.rows))


def test_the_row_as_it_was_may_stay() -> None:
    rows = table(("Q a", " x"), ("q b", " y"))
    result = augment(rows, 0, Augment("lower_case", beside=True))
    assert prompts(result.rows) == ["Q a", "q a", "q b"]
    assert (result.added, result.changed) == (1, 0)


def test_examples_before_a_prompt_are_other_rows_of_the_source() -> None:
    rows = table(*[(f"Q{n}:", f" a{n}") for n in range(9)])
    rows = rows.set_column(0, "source", [["one"] * 5 + ["two"] * 4])
    result = augment(rows, 3, Augment("few_shot", shots=2))
    seen = set()
    for number, prompt in enumerate(prompts(result.rows)):
        *shown, own = prompt.split("\n\n")
        assert own == f"Q{number}:" and len(shown) <= 2
        seen.add(len(shown))
        pool = range(5) if number < 5 else range(5, 9)
        assert set(shown) <= {f"Q{n}: a{n}" for n in pool if n != number}
    assert seen == {0, 1, 2} and completions(result.rows) == completions(rows)


def test_a_pattern_keeps_the_template_as_it_is() -> None:
    rows = table(("### Input:\nWhy ME?\n\n### Response:\n", "A"))
    options = Augment("lower_case", pattern=r"(?<=Input:\n)[\s\S]*(?=\n\n### Response)")
    assert prompts(augment(rows, 0, options).rows) == ["### Input:\nwhy me?\n\n### Response:\n"]
