"""Operators that write rows otherwise."""

import json
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from tools.curate.result import Result, column, examples, kept
from tools.errors import UserError
from tools.recipe.operators.declared import AnswerFormat, Map, Repeat, Strip

_STRIPPED = {
    # Wikipedia's marks, as they stand in dolly: [1], [2, 3], [a], [citation needed].
    "citations": (re.compile(r" ?\[(?:\d{1,3}(?:, ?\d{1,3})*|[a-z]|citation needed)\]"), ""),
    "calculator": (re.compile(r"<<[^<>\n]*>>"), ""),
    "tags": (re.compile(r"</?[a-zA-Z][^<>\n]*>"), ""),
    "blank_lines": (re.compile(r"\n[ \t]*(?:\n[ \t]*)+(?=\n)"), "\n"),
}


def strip(rows: pa.Table, seed: int, options: Strip) -> Result:
    """Texts without what is named.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: what is cut out of which texts.

    Returns:
        All rows but those that have no completion any more.
    """

    def stripped(text: str) -> str:
        for what in options.what:
            pattern, to = _STRIPPED[what]
            text = pattern.sub(to, text)
        return text

    result = rows
    for name in dict.fromkeys(options.columns):
        result = _written(result, name, [stripped(text) for text in rows.column(name).to_pylist()])
    return _compared(rows, result, "stripped")


def _written(rows: pa.Table, name: str, texts: list[Any]) -> pa.Table:
    """The rows with another column."""
    at = rows.column_names.index(name)
    return rows.set_column(at, name, pa.array(texts, pa.string()))


def _compared(before: pa.Table, after: pa.Table, why: str) -> Result:
    """What changed; rows whose completion became blank leave."""
    pairs = [
        list(zip(before.column(name).to_pylist(), after.column(name).to_pylist(), strict=True))
        for name in before.column_names
        if before.column(name) is not after.column(name)
    ]
    changed = sorted({n for pair in pairs for n, (old, new) in enumerate(pair) if old != new})
    blank = [n for n in changed if not (after.column("completion")[n].as_py() or "").strip()]
    result = kept(after, {f"no completion is left when {why}": blank})
    told = [*((n, "no completion is left") for n in blank), *((n, why) for n in changed)]
    return Result(
        result.rows, result.left, changed=len(changed) - len(blank), examples=examples(after, told)
    )


def map_(rows: pa.Table, seed: int, options: Map) -> Result:
    """A text or field written otherwise.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: the values, or the pattern, and what stands for them. A completion's values are
            compared without the blanks around them, which stay.

    Returns:
        All rows but those that have no completion any more.

    Raises:
        UserError: there is no such field, or ``to`` names a group that the pattern has not.
    """
    column(rows, options.column, "map.column")
    texts = rows.column(options.column).to_pylist()
    if options.values:
        made = [_mapped(text, options.values) for text in texts]
    else:
        pattern = re.compile(options.pattern)
        try:
            made = [text if text is None else pattern.sub(options.to, text) for text in texts]
        except (re.error, IndexError) as error:
            raise UserError(f"map.to: {options.to!r} does not fit its pattern: {error}") from None
    return _compared(rows, _written(rows, options.column, made), "mapped")


def _mapped(text: str | None, values: dict[str, str]) -> str | None:
    if text is None or text.strip() not in values:
        return text
    return text.replace(text.strip(), values[text.strip()]) if text.strip() else values[""]


def answer_format(rows: pa.Table, seed: int, options: AnswerFormat) -> Result:
    """Completions in one form; the blanks before them stay.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: the form, and what becomes of rows that do not have it.

    Raises:
        UserError: a row cannot be brought to the form, and ``unfit`` is ``refuse``.
    """
    form = FORMS[options.format]
    texts = rows.column("completion").to_pylist()
    made = [form(text.strip()) for text in texts]
    unfit = [n for n, text in enumerate(made) if not text]
    if unfit and options.unfit == "refuse":
        number = unfit[0]
        raise UserError(
            f"answer_format: {len(unfit)} completions hold no {options.format}; the first is "
            f"{rows.column('place')[number].as_py()}: {texts[number][:80]!r}; mend them, or let "
            "them leave with: unfit: drop"
        )
    whole = [
        text[: len(text) - len(text.lstrip())] + new if new else text
        for text, new in zip(texts, made, strict=True)
    ]
    result = kept(_written(rows, "completion", whole), {f"no {options.format}": unfit})
    changed = [n for n, (old, new) in enumerate(zip(texts, whole, strict=True)) if old != new]
    told = [*((n, f"no {options.format}") for n in unfit)]
    told += [(n, f"{texts[n].strip()[:40]!r} is {made[n]!r} now") for n in changed]
    return Result(result.rows, result.left, changed=len(changed), examples=examples(rows, told))


_LETTER = re.compile(
    r"(?:(?:the )?(?:correct |right |best )?(?:answer|option|choice)(?: is)?:? *)?"
    r"[(\[]?([A-Z])(?:[)\].:]+(?:\s.*)?|$)",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?|-?\.\d+")


def letter(text: str) -> str:
    """The letter of a choice: B of ``B. Football``, ``(b)``, ``The answer is B.``; or nothing."""
    found = _LETTER.fullmatch(text)
    return found[1].upper() if found else ""


def number(text: str) -> str:
    """The last number of a text, without commas; or nothing."""
    found = _NUMBER.findall(text)
    return found[-1].replace(",", "") if found else ""


def boxed(text: str) -> str:
    r"""What the last ``\boxed{}`` of a text holds, braces within it balanced; or nothing."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return ""
    depth = 0
    for at, sign in enumerate(text[start + len("\\boxed") :]):
        depth += (sign == "{") - (sign == "}")
        if not depth:
            return text[start + len("\\boxed{") : start + len("\\boxed") + at].strip()
    return ""


def as_json(text: str) -> str:
    """The same JSON on one line; nothing where it is none."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


FORMS: dict[str, Callable[[str], str]] = {
    "letter": letter,
    "number": number,
    "boxed": boxed,
    "text": str,
    "json": as_json,
}


def repeat(rows: pa.Table, seed: int, options: Repeat) -> Result:
    """Each row several times, one behind the other.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: how often.
    """
    numbers = [number for number in range(rows.num_rows) for _ in range(options.times)]
    return Result(rows.take(pa.array(numbers, pa.int64())), added=len(numbers) - rows.num_rows)
