"""OASST: the best path through each tree of messages, from whole trees or from single messages."""

from collections.abc import Iterator
from typing import Any

from tools.data.reading.fault import Fault
from tools.data.reading.json_rows import Record
from tools.data.shapes.base import How, Leave, Made
from tools.data.shapes.conversation import conversation

# Of a message what a path is decided by: the rest, half of the file, is let go.
_KEPT = (
    "message_id",
    "parent_id",
    "text",
    "role",
    "lang",
    "rank",
    "deleted",
    "review_result",
    "synthetic",
)
_IN_A_PATH = "joined into a conversation"


class _Message:
    """One message, its replies below it."""

    __slots__ = ("fields", "number", "replies")

    def __init__(self, number: int, fields: dict[str, Any]) -> None:
        self.number, self.replies = number, list[_Message]()
        self.fields = {name: fields.get(name) for name in _KEPT}
        if not isinstance(self.fields["text"], str):
            raise Fault(
                "a message without text; a tree's messages have text, role and parent_id", number
            )

    def fault(self, language: str) -> str:
        """Why it is not taken; empty when it is."""
        if self.fields["deleted"]:
            return "deleted"
        if self.fields["review_result"] is False:
            return "review not passed"
        if self.fields["synthetic"]:
            return "written by a model (synthetic)"
        if language and self.fields["lang"] != language:
            return f"not of language {language}"
        return ""

    @property
    def role(self) -> str:
        """The assistant's, or the user's, who is called prompter."""
        return "assistant" if self.fields["role"] == "assistant" else "user"

    @property
    def rank(self) -> float:
        """0 is the best; one without siblings has none."""
        rank = self.fields["rank"]
        return float(rank) if isinstance(rank, int | float) else 0.0


def tree(records: Iterator[Record], how: How, leave: Leave) -> Iterator[Made]:
    """A conversation a tree: of each message's replies the best, down to where none is left."""
    for root in _roots(records, leave):
        yield from _path(root, how, leave)


def _roots(records: Iterator[Record], leave: Leave) -> Iterator[_Message]:
    flat: dict[str, _Message] = {}
    for number, row in records:
        prompt = row.get("prompt")
        if isinstance(prompt, dict):
            yield _whole(number, prompt, 0)
            continue
        message = _Message(number, row)
        flat[str(message.fields["message_id"])] = message
    yield from _joined(flat, leave)


def _joined(flat: dict[str, _Message], leave: Leave) -> Iterator[_Message]:
    roots = []
    for message in flat.values():
        parent = message.fields["parent_id"]
        if parent is None:
            roots.append(message)
        elif (above := flat.get(str(parent))) is not None:
            above.replies.append(message)
        else:
            leave("its parent is not in the file", message.number)
    yield from roots


def _whole(number: int, fields: dict[str, Any], depth: int) -> _Message:
    if depth > 200:
        raise Fault("a tree of more than 200 messages one below the other", number)
    message = _Message(number, fields)
    replies = fields.get("replies") or []
    if not isinstance(replies, list) or not all(isinstance(one, dict) for one in replies):
        raise Fault("field 'replies' is no list of messages", number)
    message.replies = [_whole(number, reply, depth + 1) for reply in replies]
    return message


def _path(root: _Message, how: How, leave: Leave) -> Iterator[Made]:
    taken: list[_Message] = []
    candidates = [root]
    while candidates:
        good = []
        for one in candidates:
            if why := one.fault(how.language):
                _gone(one, why, leave, root)
            else:
                good.append(one)
        if not good:
            break
        best = min(good, key=lambda one: one.rank)
        for one in good:
            if one is not best:
                _gone(one, "a better ranked answer beside it", leave, root)
        taken.append(best)
        candidates = best.replies
    for one in taken[1:]:
        if one.number != root.number:
            leave(_IN_A_PATH, one.number)
    if taken:
        turns = [(one.role, str(one.fields["text"])) for one in taken]
        yield from conversation(root.number, turns, how, leave)


def _gone(message: _Message, why: str, leave: Leave, root: _Message) -> None:
    """Tell of a message and all below it; of a whole tree, which is one record, of its root."""
    waiting = [message]
    while waiting:
        one = waiting.pop()
        if one is root or one.number != root.number:
            leave(why, one.number)
        waiting += one.replies
