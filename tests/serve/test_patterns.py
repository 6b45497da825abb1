"""How far a pattern looks: never said to be less than it is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.patterns import reach


@pytest.mark.parametrize(
    ("pattern", "characters"),
    [
        ("abc", 3),
        ("ab?", 2),
        ("a|bcd", 3),
        ("(a)\\1", 2),
        ("(?:ab){2,3}", 6),
        ("a(?=bc)", 3),
        ("a(?!b(?=c))", 3),
        ("(?<=abc)d", 1),
        ("^a", 1),
        ("\\Aa", 1),
        ("a$", 2),
        ("a\\b", 2),
        ("a\\Z", 2),
        ("(?x) a  # a comment", 1),
        ("a*", None),
        ("a+?b", None),
        ("[\\s\\S]*", None),
        ("a(?=b*)", None),
    ],
)
def test_reach(pattern: str, characters: int | None) -> None:
    assert reach(re.compile(pattern, re.MULTILINE)) == characters


ATOMS = st.sampled_from(["a", "b", " ", "\\n", "[ab]", ".", "^", "$", "\\b", "\\B", "\\A", "\\Z"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["?", "??", "{2}", "{1,2}", "{0,2}+"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        ),
        st.tuples(st.sampled_from(["(?=", "(?!", "(?>", "("]), inner).map(
            lambda two: f"{two[0]}{two[1]})"
        ),
    ),
    max_leaves=6,
)
TEXTS = st.text("ab \n", max_size=12)


@given(PATTERNS, TEXTS, TEXTS)
def test_what_was_seen_that_far_is_final(source: str, text: str, more: str) -> None:
    pattern = re.compile(source, re.MULTILINE)
    characters = reach(pattern)
    assert characters is not None
    for place in range(max(0, len(text) - characters + 1)):
        now, later = pattern.match(text, place), pattern.match(text + more, place)
        assert (now and now.regs) == (later and later.regs)
