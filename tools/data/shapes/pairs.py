"""One prompt and one answer a row, and whole texts."""

from collections.abc import Iterator

from tools.data.reading.json_rows import Record
from tools.data.shapes.base import How, Leave, Made
from tools.data.shapes.conversation import Turn, conversation


def pairs(records: Iterator[Record], how: How, leave: Leave) -> Iterator[Made]:
    """Both templates filled with a row's fields; in a chat, they are what its two turns say."""
    prompt, completion = how.prompt.render, how.completion.render
    for number, row in records:
        if how.chat:
            said: list[Turn] = [("user", prompt(row)), ("assistant", completion(row))]
            yield from conversation(number, said, how, leave)
        else:
            yield Made(number, prompt(row), completion(row))


def text(records: Iterator[Record], how: How, leave: Leave) -> Iterator[Made]:
    """Raw documents: all of them is learnt."""
    for number, row in records:
        yield Made(number, "", how.completion.render(row))
