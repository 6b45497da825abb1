"""Instructions, stages and what is known where."""

import pytest

from tools.lint.reading.dockerfile import ParseError, environment, pairs, parse

TWO = """\
# syntax=docker/dockerfile:1
ARG TAG=3.11
FROM python:${TAG} AS base
ENV A=1 B="two words"
ARG C=3
ARG TAG
WORKDIR /app
FROM base
RUN --mount=type=cache,target=/c \\
    # a comment

    echo $A
COPY --from=base --chown=1:1 ["a", \\
  "b"]
WORKDIR src
"""


def test_stages_inherit_the_environment_but_no_arguments() -> None:
    file = parse(TWO)
    base, last = file.stages
    assert base.base == "python:3.11" and base.name == "base" and last.parent is base
    assert base.scope == {"A": "1", "B": "two words", "C": "3", "TAG": "3.11"}
    assert environment(last) == {"A": "1", "B": "two words"} and last.workdir == "/app/src"
    assert last.image == "python:3.11" and len(file.used()) == 2


def test_lines_flags_and_json() -> None:
    _, run, copy, _ = parse(TWO).stages[1].instructions
    assert (run.line, run.end) == (9, 12) and run.flags == {"mount": "type=cache,target=/c"}
    assert [(word.text, word.line) for word in run.words] == [("echo", 12), ("$A", 12)]
    assert copy.json and copy.flags == {"from": "base", "chown": "1:1"}
    assert [(word.text, word.line) for word in copy.words] == [("a", 13), ("b", 14)]


def test_here_documents_belong_to_their_instruction() -> None:
    run, cmd = parse("FROM a:1\nRUN <<EOF\n# one\nFROM b\nEOF\nCMD c\n").stages[0].instructions[1:]
    assert (run.line, run.end, cmd.line) == (2, 5, 6) and "FROM b" in run.body


def test_the_escape_directive() -> None:
    (_, run) = parse("# escape=`\nFROM a:1\nRUN b `\n  c\n").stages[0].instructions
    assert [word.text for word in run.words] == ["b", "c"]


def test_windows_line_ends_and_a_byte_order_mark() -> None:
    assert [s.base for s in parse("\ufeffFROM a:1\r\nRUN b\r\n").stages] == ["a:1"]


def test_unused_stages() -> None:
    file = parse("FROM a:1 AS x\nFROM b:1 AS y\nFROM c:1\nCOPY --from=y /f /f\n")
    assert [stage.name for stage in file.used()] == ["y", ""]


def test_both_forms_of_env() -> None:
    (_, old, new) = parse("FROM a:1\nENV KEY some words\nENV A=1 B='x y'\n").stages[0].instructions
    assert [(key, word.text) for key, word in pairs(old)] == [("KEY", "some words")]
    assert [(key, word.text) for key, word in pairs(new)] == [("A", "1"), ("B", "x y")]


@pytest.mark.parametrize(("text", "line"), [("# nothing\n", 1), ("FROM a:1\nENV A\nRUN b\n", 2)])
def test_what_buildkit_refuses(text: str, line: int) -> None:
    with pytest.raises(ParseError) as error:
        parse(text)
    assert error.value.line == line
