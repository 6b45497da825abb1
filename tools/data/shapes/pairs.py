"""One prompt and one answer a row, and whole texts."""

from collections.abc import Iterator

from tools.data.reading.json_rows import Record
from tools.data.shapes.base import How, Leave, Made


def pairs(records: Iterator[Record], how: How, leave: Leave) -> Iterator[Made]:
    """Both templates filled with a row's fields."""
    prompt, completion = how.prompt.render, how.completion.render
    for number, row in records:
        yield Made(number, prompt(row), completion(row))


def text(records: Iterator[Record], how: How, leave: Leave) -> Iterator[Made]:
    """Raw documents: all of them is learnt."""
    for number, row in records:
        yield Made(number, "", how.completion.render(row))
