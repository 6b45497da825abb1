"""Choices by letter, and Natural Instructions' tasks."""

import random
import re
from collections.abc import Iterator
from typing import Any

from tools.data.reading.fault import Fault
from tools.data.reading.json_rows import Record
from tools.data.render import LETTERS, pair
from tools.data.shapes.base import How, Leave, Made, texts
from tools.data.shapes.template import as_text, is_missing
from tools.data.skills import Question

# Such a choice speaks of the others' places: no order but its own is right.
_BOUND = re.compile(
    r"(?i)\b(all|none|both|neither|either) (of )?(the )?(above|these|those|them)\b"
    r"|\b[A-J] (and|or) [A-J]\b"
)
_NUMBERED = ("ans0", "ans1", "ans2", "ans3", "ans4")  # as BBQ has its choices
_QUESTIONS = ("question", "question_stem", "query", "input", "prompt", "problem")
_CHOICES = ("choices", "options", "endings", "answers")
_ANSWERS = ("answer", "answerKey", "label", "answer_idx", "correct", "target", "gold")


def mcq(records: Iterator[Record], how: How, leave: Leave) -> Iterator[Made]:
    """Multiple choice: the letter alone is learnt, the choices in an order drawn by the seed."""
    for number, row in records:
        if not is_missing(row.get("image")):
            leave("needs its picture", number)
            continue
        choices, labels = _choices(row, how)
        right = _right(row, how, choices, labels)
        if len(set(choices)) != len(choices):
            leave("two choices are the same", number)
            continue
        answer = choices[right]
        if not any(map(_BOUND.search, choices)):
            random.Random(f"{how.seed}/{number}").shuffle(choices)
        question = Question(_asked(row, how), answer, "letter", tuple(choices))
        made = pair("", question)
        yield Made(number, made.prompt, made.completion, question)


def _asked(row: dict[str, Any], how: How) -> str:
    name = how.column(row, *_QUESTIONS)
    asked = row[name]
    context = row.get(how.columns.get("context", "context"))
    if is_missing(asked):
        raise Fault(f"field {name!r} is empty (null or NaN)")
    parts = ["" if is_missing(one) else as_text(one, name).strip() for one in (context, asked)]
    return " ".join(filter(None, parts))


def _choices(row: dict[str, Any], how: How) -> tuple[list[str], list[str]]:
    """The choices, and the labels that the row gives them."""
    numbered = [name for name in _NUMBERED if name in row]
    if len(numbered) > 1 and "choices" not in how.columns:
        found: Any = [row[each] for each in numbered]
        labels, name = numbered, numbered[0]
    else:
        name = how.column(row, *_CHOICES)
        found, labels = row[name], []
        if isinstance(found, dict):
            found, labels = found.get("text"), found.get("label") or []
    if isinstance(found, list):
        found = [as_text(one, name) for one in found if not is_missing(one)]
    found = [one.strip() for one in texts(found, name)]
    if not 2 <= len(found) <= len(LETTERS):
        raise Fault(f"field {name!r} has {len(found)} choices; there may be 2 to {len(LETTERS)}")
    return found, [str(label) for label in labels]


def _right(row: dict[str, Any], how: How, choices: list[str], labels: list[str]) -> int:
    """The place of the right choice, which may be named by its label, letter, number or text."""
    name = how.column(row, *_ANSWERS)
    value = row[name]
    if is_missing(value):
        raise Fault(f"field {name!r} is empty (null or NaN): which choice is right?")
    text = as_text(value, name).strip()
    if text in labels:
        return labels.index(text)
    if isinstance(value, int) or (text.isdecimal() and text.isascii()):
        at = int(text)
        if at < len(choices):
            return at
    elif len(text) == 1 and text.upper() in LETTERS[: len(choices)]:
        return LETTERS.index(text.upper())
    if text in choices:
        return choices.index(text)
    raise Fault(
        f"field {name!r} is {text[:40]!r}: neither a letter, a number from 0 nor one of the choices"
    )


def ni_task(records: Iterator[Record], how: How, leave: Leave) -> Iterator[Made]:
    """A file of Natural Instructions: the definition before each instance, its first output."""
    for number, row in records:
        definition = row.get("Definition")
        definition = (
            " ".join(texts(definition, "Definition"))
            if isinstance(definition, list)
            else definition
        )
        instances = row.get("Instances")
        if not isinstance(definition, str) or not isinstance(instances, list):
            raise Fault("no task of Natural Instructions: it has Definition and Instances", number)
        for at, instance in enumerate(instances, 1):
            output = instance.get("output") if isinstance(instance, dict) else None
            output = output[0] if isinstance(output, list) and output else output
            if not isinstance(output, str):
                raise Fault(f"instance {at} has no input and output", number)
            fields = {"definition": definition, "output": output, "input": instance.get("input")}
            yield Made(number, how.prompt.render(fields), how.completion.render(fields))
