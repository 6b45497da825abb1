"""Cut, extract, format: what they give, and what holds whatever they are and whatever comes."""

import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from serve.config import Rule
from serve.edits import Edit
from serve.engine.base import GenResult, GenToken


def result(*texts: str, finish: str = "length") -> GenResult:
    """An answer whose token n has id n and logprob -n."""
    tokens = (GenToken(n, text, -float(n), ((text, -float(n)),)) for n, text in enumerate(texts, 1))
    return GenResult(tuple(tokens), finish)  # type: ignore[arg-type]


def text_of(answer: GenResult) -> str:
    return "".join(token.text for token in answer.tokens)


LETTER = r"\A\s*([A-J])\b"
NUMBER = r"[\s\S]*The answer is (\d+)"

EXAMPLES = [
    ("a cut", Rule(cut=["\n\n"]), "one\n\ntwo", "one", ("cut",)),
    ("nothing to cut", Rule(cut=["\n\n"]), "one\ntwo", "one\ntwo", ()),
    (
        "leading newlines do not count",
        Rule(cut=["\n\n"]),
        "\n\n\none\n\ntwo",
        "\n\n\none",
        ("cut",),
    ),
    ("the first of several", Rule(cut=["###", "\nQ:"]), "a\nQ: b ###", "a", ("cut",)),
    ("never to nothing", Rule(cut=["one"]), " one", " one", ()),
    ("a later match, then", Rule(cut=["Q:"]), "Q: a\nQ: b", "Q: a\n", ("cut",)),
    ("white space stays as it is", Rule(cut=["\n"]), "\n\n\n", "\n\n\n", ()),
    ("nothing stays nothing", Rule(cut=["\n"], extract="(x)"), "", "", ()),
    ("an extract", Rule(extract=LETTER), " A. Yes", "A", ("extract",)),
    ("no match", Rule(extract=LETTER), " Apple", " Apple", ()),
    ("an extract of nothing", Rule(extract=r"(\d*)x"), "x", "x", ()),
    ("a group that took no part", Rule(extract=r"a|(b)"), "a b", "a b", ()),
    ("an extract of all", Rule(extract=LETTER), "A", "A", ()),
    ("after the cut", Rule(cut=["\n"], extract="([AB])"), "C\nA", "C", ("cut",)),
    ("both", Rule(cut=["\n"], extract="([AB])"), "So A.\nB", "A", ("cut", "extract")),
    (
        "a format",
        Rule(extract=NUMBER, format="The answer is {x}."),
        "It is 4. The answer is 42 eggs",
        "The answer is 42.",
        ("extract", "format"),
    ),
    ("a format of all", Rule(extract="(.+)", format="({x})"), "a", "(a)", ("format",)),
    (
        "a format that changes nothing",
        Rule(extract=NUMBER, format="The answer is {x}."),
        "The answer is 42.",
        "The answer is 42.",
        (),
    ),
    ("a format without its extract", Rule(extract="(9)", format="<{x}>"), "a", "a", ()),
    ("lines have ends", Rule(cut=["^b$"]), "a\nb\nbb", "a\n", ("cut",)),
]


@pytest.mark.parametrize(
    ("rule", "before", "after", "steps"), [e[1:] for e in EXAMPLES], ids=[e[0] for e in EXAMPLES]
)
def test_examples(rule: Rule, before: str, after: str, steps: tuple[str, ...]) -> None:
    edited, done = Edit(rule).apply(result(*before))
    assert (text_of(edited), done) == (after, steps)
    assert edited.finish_reason == ("stop" if steps else "length")


def test_tokens_describe_the_text() -> None:
    rule = Rule(cut=["\n"], extract=r"is (\d+)", format="The answer is {x}.")
    edited, _ = Edit(rule).apply(result(" It", " is 4", "2 eg", "gs\nQ", "uestion"))
    assert [(t.id, t.text, t.logprob) for t in edited.tokens] == [
        (-1, "The answer is ", 0.0),
        (2, "4", -2.0),
        (3, "2", -3.0),
        (-1, ".", 0.0),
    ]
    assert edited.tokens[1].candidates == ((" is 4", -2.0),)
    assert edited.tokens[0].candidates == ()


def test_parts_of_a_character_stay_with_it() -> None:
    edited, _ = Edit(Rule(extract="x(é)")).apply(result("x", "", "é", "", "!"))
    assert [(t.id, t.text) for t in edited.tokens] == [(2, ""), (3, "é")]


def test_an_answer_nobody_changed_is_the_same_object() -> None:
    answer = result("one", "", finish="eos")
    assert Edit(Rule(cut=["x"], extract="(y)")).apply(answer)[0] is answer


SETTLED = [
    (Rule(cut=["\n\n"]), "a\n", False),
    (Rule(cut=["\n\n"]), "a\n\n", True),
    (Rule(cut=["\n\n"]), "\n\n", False),  # nothing visible yet
    (Rule(cut=["\n$"]), "a\n", False),  # is this the end of a line?
    (Rule(cut=["\nQ"]), "a\nb", False),
    (Rule(cut=["\n\n", "bcde"]), "a\n\n", True),  # no place before it
    (Rule(cut=["\n\n", "bcde"]), "ab\n\n", False),  # four characters from b are not there yet
    (Rule(cut=["\n\n", "bcde"]), "ab\n\nxy", True),
    (Rule(extract=r"\A([A-J])\b"), "A", False),  # Apple
    (Rule(extract=r"\A([A-J])\b"), "A.", True),
    (Rule(extract=r"\A(\d{1,3})"), "1", False),  # 12
    (Rule(extract=r"\A(\d{1,3})"), "1 a", True),
    (Rule(extract=r"\A([A-J])\b", cut=["Answer"]), "A.", False),  # cut in what follows?
    (Rule(extract=r"\A([A-J])\b", cut=["Answer"]), "A. Yes it", True),
    (Rule(extract=r"\A( ?)"), " a", False),  # an extract of nothing is skipped
]


@pytest.mark.parametrize(("rule", "text", "settled"), SETTLED)
def test_settled(rule: Rule, text: str, settled: bool) -> None:
    edit = Edit(rule)
    assert edit.can_settle
    assert edit.settled(text) == settled


@pytest.mark.parametrize(
    "rule", [Rule(), Rule(extract=NUMBER), Rule(cut=["a", "b*c"]), Rule(cut=["b*"], extract="(a)")]
)
def test_what_can_never_be_told(rule: Rule) -> None:
    assert not Edit(rule).can_settle
    assert not Edit(rule).settled("abc a bc The answer is 4. And so on")


CUTS = st.lists(
    st.sampled_from(
        ["\n\n", "\n", "ab", "a(?=b)", "b$", "^a", r"\bA", "A{2,3}", "(?<=b)a", "a|abA"]
    ),
    max_size=2,
)
EXTRACTS = st.sampled_from(
    [None, "(A)", r"\b(A)\b", "(a|ab)", "b(a?)", r"(\s*)a", "^(b{1,3})", r"x|(A)$", "[ab]*(A)"]
)
FORMATS = st.sampled_from([None, "{x}", "<{x}>", "b {x}.", "{x}\n"])
TEXTS = st.text("abA \né", max_size=10)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    extract = draw(EXTRACTS)
    return Rule(cut=draw(CUTS), extract=extract, format=draw(FORMATS) if extract else None)


@given(rules(), st.lists(st.text("abA \né", max_size=4), max_size=8))
def test_invariants(rule: Rule, texts: list[str]) -> None:
    answer = result(*texts)
    edited, steps = Edit(rule).apply(answer)
    before, after = text_of(answer), text_of(edited)
    assert bool(after.strip()) == bool(before.strip())
    assert (before == after) or steps
    assert list(steps) == [name for name in ("cut", "extract", "format") if name in steps]
    assert edited.finish_reason == ("stop" if steps else answer.finish_reason)
    for token in edited.tokens:
        if token.id == -1:
            assert (token.logprob, token.candidates) == (0.0, ())
            assert "format" in steps
        else:
            given_ = answer.tokens[token.id - 1]
            assert token.text in given_.text
            assert (token.logprob, token.candidates) == (given_.logprob, given_.candidates)
    kept = [token.id for token in edited.tokens if token.id > 0]
    assert kept == sorted(set(kept))
    if "format" not in steps:
        assert after in before


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # few answers are settled
@given(rules(), TEXTS, TEXTS)
def test_settled_is_final(rule: Rule, text: str, more: str) -> None:
    edit = Edit(rule)
    assume(edit.settled(text))
    now, later = edit.apply(result(text))[0], edit.apply(result(text, more))[0]
    assert text_of(now) == text_of(later)


@given(rules(), TEXTS)
def test_twice_cut_is_once_cut(rule: Rule, text: str) -> None:
    cut = Edit(Rule(cut=[re.escape(pattern) for pattern in rule.cut]))
    once, _ = cut.apply(result(text))
    assert cut.apply(once)[1] == ()
