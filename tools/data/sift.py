"""What a row must be to be trained on: one that is wrong is refused, one of no use left out."""

import math
import re
from collections.abc import Sequence
from typing import Any

from tools.data.reading.fault import Fault
from tools.data.shapes.base import How, Made
from tools.data.shapes.template import is_missing
from tools.errors import UserError
from tools.recipe.faults import nearest

LONGEST = 1_000_000  # characters of a row that is no whole document; no model here reads a tenth
MANY = "a path through a tree is of many records, so none has its difficulty; leave it out"
NO_ANSWER, NO_QUESTION = "without an answer", "without a question"

_SPELT_OUT = re.compile(r"\s*\(?[A-J][.):]\s+\S")
_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?%?\.?|(?s:.*)\bThe answer is -?[\d,.]+\.")
_LETTER = re.compile(r"\(?[A-J]\)?")
_SOME = 0.9  # share of answers that tells what kind all are
_FEW_WORDS = 8  # an answer of more is judged by its words, not as a whole


def judge(made: Made, specials: Sequence[str] = ()) -> str:
    """Why a row leaves; empty when it stays.

    Args:
        made: the row.
        specials: the model's own tokens, as they are written.

    Raises:
        Fault: it would teach what nobody means.
    """
    prompt, completion = made.prompt, made.completion
    if not completion or completion.isspace():
        return NO_ANSWER
    if prompt:
        if prompt.isspace():
            return NO_QUESTION
        if prompt[-1] in " \t" and not completion[0].isspace():
            raise Fault(_blank_end(prompt, completion))
        if len(prompt) + len(completion) > LONGEST:
            size = len(prompt) + len(completion)
            said = f"a row of {size:,} characters; at most {LONGEST:,} can be one"
            raise Fault(f"{said}: part it, or leave it out")
    if "\0" in completion or "\0" in prompt:
        part = "answer" if "\0" in completion else "question"
        raise Fault(f"a NUL character in its {part}; take it out of the row")
    for token in specials:
        if token in completion:
            said = f"its answer holds {token}, which is the model's own token"
            raise Fault(f"{said}: it would learn to write it; take it out of the row")
    return ""


def _blank_end(prompt: str, completion: str) -> str:
    """Most models' tokens begin with their blank: `` B`` is one, and would not be the answer's."""
    return (
        f"its prompt ends in a blank (…{prompt[-12:]!r}) and its answer begins without one "
        f"({completion[:12]!r}): the blank belongs to the answer's first token, which would not be "
        'learnt; end the prompt without it and begin the completion with it: " {…}"'
    )


def spelt_out(completion: str) -> bool:
    """Whether an answer is a letter and its choice's text, as in ``B. Football``."""
    return completion.lstrip()[1:3].strip("BCDEFGHIJA ")[:1] in (*".):",) and bool(
        _SPELT_OUT.match(completion)
    )


def kind(completions: Sequence[str]) -> str:
    """What kind of answers these are: ``letter``, ``number``, ``string`` or ``text``."""
    answers = [text.strip() for text in completions]
    if not answers:
        return "text"

    def most(count: int) -> bool:
        return count >= _SOME * len(answers)

    if most(sum(bool(_LETTER.fullmatch(text)) for text in answers)):
        return "letter"
    if most(sum(bool(_NUMBER.fullmatch(text)) for text in answers)):
        return "number"
    short = sum("\n" not in text and len(text.split()) <= _FEW_WORDS for text in answers)
    return "string" if most(short) else "text"


def hardness(row: dict[str, Any], name: str, how: How) -> float | None:
    """The number in a record's field of difficulty, which may be written as a text.

    Raises:
        Fault: there is none.
    """
    if not name:
        return None
    said = f"data.order: easy-first goes by {name!r} (WHERE.difficulty)"
    if how.shape == "tree":
        raise Fault(f"{said}: {MANY}", whole=True)
    if is_missing(row.get(name)) and not isinstance(row.get(name), float):
        raise Fault(
            f"{said}, and the row has no such field{nearest(name, row)}; the row has "
            f"{', '.join(row)[:300]}"
        )
    try:
        number = math.nan if isinstance(row[name], bool) else float(row[name])
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise Fault(f"{said}, and that is {row[name]!r}, no number; mend the row")
    return number


def refuse_spelt_out(where: str, sample: Sequence[str], shape: str) -> None:
    """Stop at answers such as ``B. Football``.

    Args:
        where: full key of the source.
        sample: some of its answers.
        shape: of its records; of multiple choice the letters are ours.

    Raises:
        UserError: nearly all of them are.
    """
    if shape == "mcq" or len(sample) < 5:
        return
    found = [text for text in sample if spelt_out(text)]
    if len(found) >= 0.9 * len(sample):
        raise UserError(
            f"{where}.completion: the answers are letters with their texts "
            f"({found[0].strip()[:30]!r}); HELM's multiple choice wants the letter alone and "
            f"scores these 0: learn the letter, or say {where}.answer: string if you mean it"
        )
