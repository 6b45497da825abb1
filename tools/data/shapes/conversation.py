"""Several turns: chats by role, ShareGPT's, plain lists, OASST's trees, QuAC's dialogues.

Every exchange is written by the source's two templates, over ``{user}`` and ``{assistant}``, parted
by a blank line: the form of HELM's examples, and of a served prompt that holds an earlier exchange;
or all of them by the model's own chat template (``chat_form.py``).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from tools.data.reading.fault import Fault
from tools.data.reading.json_rows import Record
from tools.data.shapes.base import Exchange, How, Leave, Made, Segment, texts
from tools.recipe.faults import nearest

Turn = tuple[str, str]  # role and text

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
NO_ANSWER = "no answer in the conversation"


def messages(records: Iterator[Record], how: How, leave: Leave) -> Iterator[Made]:
    """Chats: a list of ``{role, content}``, or ``{from, value}`` as ShareGPT has it."""
    for number, row in records:
        name = how.column(row, "messages", "conversations", "conversation")
        turns = list(_turns(row[name], name))
        yield from conversation(number, turns, how, leave)


def turns(records: Iterator[Record], how: How, leave: Leave) -> Iterator[Made]:
    """A list of texts, the user's first, in turn."""
    for number, row in records:
        name = how.column(row, "turns", "conversations", "messages")
        said = texts(row[name], name)
        roles = ["assistant" if at % 2 else "user" for at in range(len(said))]
        yield from conversation(number, list(zip(roles, said, strict=True)), how, leave)


def _turns(value: Any, name: str) -> Iterator[Turn]:
    if not isinstance(value, list):
        raise Fault(f"field {name!r} is no list of messages")
    for at, message in enumerate(value, 1):
        where = f"message {at} of field {name!r}"
        if not isinstance(message, dict):
            raise Fault(f"{where} is no object with role and content; is this shape: turns?")
        role = message.get("role", message.get("from"))
        if role not in _ROLES:
            hint = nearest(str(role), _ROLES)
            raise Fault(f"{where} has role {role!r}{hint}; known are {', '.join(_ROLES)}")
        yield _ROLES[role], _content(message.get("content", message.get("value")), where)


def _content(value: Any, where: str) -> str:
    """A message's text; of a list of parts the texts, and nothing else may be in it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in value
    ):
        return "".join(part["text"] for part in value)
    raise Fault(f"{where} is no text; pictures and calls of tools cannot be trained on")


def conversation(number: int, turns: Iterable[Turn], how: How, leave: Leave) -> Iterator[Made]:
    """One row of a whole conversation; what stands behind the last answer is cut off."""
    lead, exchanges = _exchanges(turns)
    while exchanges and exchanges[-1][1] is None:
        exchanges.pop()
    if not exchanges:
        leave(NO_ANSWER, number)
        return
    if how.chat:
        segments = how.chat.segments(lead, exchanges, how.learn)
    else:
        segments = _merged(_segments(lead, exchanges, how))
    if not any(learnt for learnt, _ in segments):
        leave(NO_ANSWER, number)
        return
    last = max(at for at, (learnt, _) in enumerate(segments) if learnt)
    prompt = "".join(text for _, text in segments[:last])
    yield Made(number, prompt, segments[last][1], None, tuple(segments[: last + 1]))


def _exchanges(turns: Iterable[Turn]) -> tuple[str, list[Exchange]]:
    """The system's words and the exchanges; one who speaks twice says both in one turn."""
    lead: list[str] = []
    found: list[Exchange] = []
    for role, text in turns:
        text = text.strip()
        if role == "system":
            lead.append(text)
        elif role == "user":
            said = found.pop()[0] if found and found[-1][1] is None else ""
            found.append((f"{said}\n\n{text}".strip(), None))
        elif not found:
            found.append(("", text))
        else:
            said, before = found.pop()
            found.append((said, text if before is None else f"{before}\n\n{text}"))
    return "\n\n".join(filter(None, lead)), found


def _segments(lead: str, exchanges: list[Exchange], how: How) -> Iterator[Segment]:
    last = len(exchanges) - 1
    before = f"{lead}\n\n" if lead else ""
    for at, (user, assistant) in enumerate(exchanges):
        fields = {"user": user, "assistant": assistant or ""}
        yield False, before + how.prompt.render(fields)
        # A greeting that answers nothing is no answer to learn, nor is an empty one.
        answers = bool(user) and bool(assistant) and (how.learn == "all" or at == last)
        yield answers, how.completion.render(fields)
        before = "\n\n"


def _merged(segments: Iterator[Segment]) -> list[Segment]:
    found: list[Segment] = []
    for learnt, text in segments:
        if found and not learnt and not found[-1][0]:
            text = found.pop()[1] + text
        found.append((learnt, text))
    return found


def quac(records: Iterator[Record], how: How, leave: Leave) -> Iterator[Made]:
    """QuAC: a passage and the questions put about it, in order; unanswerable ones are left out."""
    for number, row in records:
        for dialogue in row["data"] if isinstance(row.get("data"), list) else [row]:
            lead, asked = _dialogue(dialogue, how)
            turns: list[Turn] = [("system", lead)]
            for question, answer in asked:
                if answer and answer != "CANNOTANSWER":
                    turns += [("user", question), ("assistant", answer)]
            yield from conversation(number, turns, how, leave)


def _dialogue(row: dict[str, Any], how: How) -> tuple[str, list[tuple[str, str]]]:
    """The passage, and questions with their first answers, in the hub's form or in quac.ai's."""
    if "paragraphs" in row:
        paragraph = row["paragraphs"][0]
        asked = [(qa["question"], qa["answers"][0]["text"]) for qa in paragraph["qas"]]
        context = paragraph["context"]
    else:
        questions = texts(row[how.column(row, "questions")], "questions")
        name = how.column(row, "answers", "orig_answers")
        given = row[name]
        given = given.get("texts") if isinstance(given, dict) else given
        if not isinstance(given, list) or len(given) != len(questions):
            raise Fault(f"field {name!r} has not one answer a question")
        firsts = [one[0] if isinstance(one, list) and one else one for one in given]
        asked = list(zip(questions, texts(firsts, name), strict=True))
        context = row[how.column(row, "context")]
    context = str(context).removesuffix("CANNOTANSWER").rstrip()
    background = str(row.get("background") or "")
    return "\n\n".join(filter(None, [background, context])), asked
