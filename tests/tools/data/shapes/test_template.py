"""Templates: optional fields take their line with them, nothing reaches into Python."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.data.reading.fault import Fault
from tools.data.shapes.template import BadTemplate, Template

ROW = {"q": "Who?", "c": "", "n": 1.0, "l": ["a", {"b": True}], "d": {"k": None}, "z": None}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("Question: {q}\nAnswer:", "Question: Who?\nAnswer:"),
        ("{q}\n{c?}\nAnswer:", "Who?\nAnswer:"),
        ("{q}\nContext: {c?}\nAnswer:", "Who?\nAnswer:"),
        ("{q}\nContext: {c}\nAnswer:", "Who?\nContext: \nAnswer:"),  # asked for, so it stays
        ("{q} {c?}\nAnswer:", "Who?\nAnswer:"),
        ("{q}\n{c?}", "Who?"),
        ("{c?}\n{q}", "Who?"),
        ("{c?} {z?} {gone?}\n{q}", "Who?"),
        ("{d[k]?}{q}", "Who?"),
        ("{q?}\n", "Who?\n"),
        ("{n}, {l[0]}, {l[-1][b]}, {{q}}", "1.0, a, true, {q}"),
        ("{l}", '["a", {"b": true}]'),
        ("{d}", '{"k": null}'),
        ("{n:.2f}", "1.00"),
    ],
)
def test_made(text: str, made: str) -> None:
    assert Template(text).render(ROW) == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{q.upper}", "reaches into a field by a dot"),
        ("{q.__class__}", "reaches into a field by a dot"),
        ("{q", "written twice"),
        ("q}", "written twice"),
        ("{}", "names no field"),
        ('{"a": 1}', "names no field"),
        ("{q!r}", "as Python does"),
        ("{q:9999}", "three digits"),
        ("{q:{n}}", "no braces"),
    ],
)
def test_a_template_that_fits_no_row(text: str, said: str) -> None:
    with pytest.raises(BadTemplate, match=said):
        Template(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{qq}", "no field 'qq' .*did you mean q?"),
        ("{z}", "field 'z' is empty .*write {z[?]}"),
        ("{d[k]}", r"field 'd\[k\]' is empty"),
        ("{l[7]}", "field 'l' holds no '7' .*2 elements"),
        ("{d[j]}", "field 'd' holds no 'j' .*it has k"),
        ("{q[0]}", "field 'q' holds no '0'"),
        ("{q:.2f}", "cannot write"),
    ],
)
def test_a_row_that_does_not_fit(text: str, said: str) -> None:
    with pytest.raises(Fault, match=said):
        Template(text).render(ROW)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "", "  \n"])
def test_empty_is_empty(value: Any) -> None:
    assert Template("a\n{x?}\nb").render({"x": value}) == "a\nb"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda below: (
        st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=3), below, max_size=2)
    ),
)


@given(text=st.text(alphabet="{}[]?.!:q0a \n", max_size=16), value=VALUES)
def test_no_template_breaks(text: str, value: Any) -> None:
    try:
        assert isinstance(Template(text).render({"q": value, "a": value}), str)
    except (BadTemplate, Fault) as error:
        assert str(error)


@given(text=st.text(max_size=30))
def test_text_without_braces_is_itself(text: str) -> None:
    plain = text.replace("{", "").replace("}", "")
    assert Template(plain).render({}) == plain
