"""The shell's words, commands and variables, with their lines."""

from hypothesis import given
from hypothesis import strategies as st

from tools.lint.reading.shell import commands, expand, variables


def texts(text: str) -> list[list[str]]:
    return [one.texts for one in commands(text)]


def test_quotes_escapes_and_comments() -> None:
    assert texts("a 'b c' \"d $E\" f\\ g h#i # j\nk") == [
        ["a", "b c", "d $E", "f g", "h#i"], ["k"],
    ]  # fmt: skip


def test_operators_and_lines() -> None:
    found = commands("a &&\\\n b || c;\nd | e & (f)", line=10)
    assert [(one.name, one.line, one.before) for one in found] == [
        ("a", 10, ""), ("b", 11, "&&"), ("c", 11, "||"), ("d", 12, ";"), ("e", 12, "|"),
        ("f", 12, "("),
    ]  # fmt: skip


def test_a_redirection_knows_the_word_it_touches() -> None:
    (one,) = commands("pip install a>=1 b >log 2>&1")
    assert one.texts == ["pip", "install", "a", "b"]
    assert [(r.operator, r.target.text, r.behind and r.behind.text) for r in one.redirects] == [
        (">", "=1", "a"), (">", "log", None), (">&", "1", None),
    ]  # fmt: skip


def test_substitutions_stay_in_their_word() -> None:
    assert texts('a $(b "c d" $(e)) `f g` ${h:-i j}k') == [
        ["a", '$(b "c d" $(e))', "`f g`", "${h:-i j}k"]
    ]


def test_wrappers_reserved_words_and_assignments_are_dropped() -> None:
    (one,) = commands(
        "if A=1 B='2 3' sudo -u me env C=4 exec timeout 9 uv run --with x python a.py"
    )
    assert one.texts == ["python", "a.py"] and one.assigned == {"A": "1", "B": "2 3", "C": "4"}
    assert one.wrappers == ("sudo", "env", "exec", "timeout", "uv")


def test_shells_in_shells_and_documents() -> None:
    found = commands("bash -lc 'a && b'\ncat <<EOF >f\nc d\nEOF\nsh <<'E'\ne\nE\nf", line=1)
    assert [(one.name, one.line) for one in found] == [
        ("bash", 1), ("a", 1), ("b", 1), ("cat", 2), ("sh", 5), ("e", 6), ("f", 8),
    ]  # fmt: skip
    assert found[3].redirects[0].body == "c d"


def test_variables_and_their_defaults() -> None:
    raw = "$A${B}${C:-d}\"$E '$F'\"'$G'\\$H${I:?no}"
    assert list(variables(raw)) == [
        ("A", None), ("B", None), ("C", "d"), ("E", None), ("F", None), ("I", None),
    ]  # fmt: skip


def test_expansion_leaves_what_it_does_not_know() -> None:
    scope = {"A": "1", "N": None}
    assert expand("$A ${A}x ${N:-2} ${M-3} $M ${A:+y} \\$A", scope) == "1 1x 2 3 $M ${A:+y} \\$A"


@given(st.text(alphabet="ab \n\\'\"`$(){}<>|&;#=E", max_size=40))
def test_any_text_ends_and_every_line_is_one_of_its_own(text: str) -> None:
    for one in commands(text):
        assert 1 <= one.line <= text.count("\n") + 1
