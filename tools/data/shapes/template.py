"""Templates over a row's fields: ``{field}``, ``{field[key]}``; ``{field?}`` may be empty.

A line of a template whose fields are all optional goes with them when they are empty: its label and
its line end, too. Fields are reached by name and key, never by attribute: ``{text.upper}`` would
train what Python says of a text.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from tools.data.reading.fault import Fault
from tools.recipe.faults import nearest

_NAME = re.compile(r"([^.\[\]{}\"'?]+)((?:\[[^\[\]]+\])*)(\?)?")
_WIDE = re.compile(r"\d{4}")  # a width of millions would fill the memory
_BLANK = " \t"


class BadTemplate(ValueError):
    """A template that fits no row; the message says why and what to write."""


@dataclass(frozen=True)
class Slot:
    """A place for a field's value.

    Attributes:
        field: the column.
        keys: into the column's value, in order.
        optional: whether it may be missing, null or blank.
        spec: how it is written, as in ``{n:.2f}``.
    """

    field: str
    keys: tuple[str, ...] = ()
    optional: bool = False
    spec: str = ""

    def __str__(self) -> str:
        return self.field + "".join(f"[{key}]" for key in self.keys)


Part = str | Slot
Line = tuple[Part, ...]


class Template:
    """A template, read once and filled for each row.

    Args:
        text: as the recipe has it.

    Raises:
        BadTemplate: its braces or a name in them cannot be read.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts: Line = tuple(_parts(text))
        self.slots = [part for part in self.parts if isinstance(part, Slot)]
        self._one = _around(self.parts)
        self._lines = _lines(self.parts) if any(slot.optional for slot in self.slots) else None

    @property
    def fields(self) -> set[str]:
        """The columns that it reads."""
        return {slot.field for slot in self.slots}

    def render(self, row: Mapping[str, Any]) -> str:
        """The text for one row.

        Raises:
            Fault: a field that is not optional is missing or null, or fits no text.
        """
        if self._one is not None:
            before, field, after = self._one
            value = row.get(field)
            if value.__class__ is str:
                return f"{before}{value}{after}"
        if self._lines is not None:
            return _joined(self._lines, row)
        return "".join([part if type(part) is str else _filled(part, row) for part in self.parts])  # type: ignore[arg-type]


def _around(parts: Line) -> tuple[str, str, str] | None:
    """Text, field, text: the form of most templates, which is filled without a detour."""
    slots = [part for part in parts if isinstance(part, Slot)]
    if len(slots) != 1 or slots[0].keys or slots[0].optional or slots[0].spec:
        return None
    at = parts.index(slots[0])
    before, after = ("".join(map(str, some)) for some in (parts[:at], parts[at + 1 :]))
    return before, slots[0].field, after


def _parts(text: str) -> list[Part]:
    found: list[Part] = []
    try:
        for literal, name, spec, conversion in Formatter().parse(text):
            if literal:
                found.append(literal)
            if name is not None:
                found.append(_slot(name, spec or "", conversion))
    except BadTemplate:
        raise
    except ValueError as error:
        raise BadTemplate(f"{error}; a brace that is text is written twice: {{{{ or }}}}") from None
    return found


def _slot(name: str, spec: str, conversion: str | None) -> Slot:
    match = _NAME.fullmatch(name)
    whole = f"{{{name}}}"
    if "." in name:
        said = f"{whole} reaches into a field by a dot; take its keys: {{field[key]}}"
        raise BadTemplate(f"{said}; a column with a dot is renamed by columns")
    if not match or match[1] != match[1].strip():
        raise BadTemplate(
            f"{whole} names no field; a brace that is text is written twice: {{{{ or }}}}"
        )
    if conversion:
        raise BadTemplate(
            f"!{conversion} in {whole} would write the value as Python does; leave it out"
        )
    if "{" in spec or _WIDE.search(spec):
        raise BadTemplate(f"{{{name}:{spec}}}: no width of more than three digits, no braces in it")
    keys = tuple(re.findall(r"\[([^\[\]]+)\]", match[2]))
    return Slot(match[1], keys, bool(match[3]), spec)


def _lines(parts: Line) -> list[Line]:
    """The parts, line by line; a line end belongs to the line before it."""
    lines: list[list[Part]] = [[]]
    for part in parts:
        if isinstance(part, Slot):
            lines[-1].append(part)
            continue
        for piece in part.splitlines(keepends=True):
            lines[-1].append(piece)
            if piece.endswith("\n"):
                lines.append([])
    return [tuple(line) for line in lines if line]


def _joined(lines: Sequence[Line], row: Mapping[str, Any]) -> str:
    found = ""
    for at, line in enumerate(lines):
        slots = [part for part in line if isinstance(part, Slot)]
        values = {slot: _filled(slot, row) for slot in slots}
        if slots and all(slot.optional and not values[slot] for slot in slots):
            # Of a last line that goes the line end before it goes, too.
            found = found.removesuffix("\n") if at == len(lines) - 1 else found
            continue
        for place, part in enumerate(line):
            found += part if isinstance(part, str) else values[part]
            gone = isinstance(part, Slot) and part.optional and not values[part]
            if gone and (place + 1 == len(line) or line[place + 1] == "\n"):
                found = found.rstrip(_BLANK)
    return found


def _filled(slot: Slot, row: Mapping[str, Any]) -> str:
    value = row.get(slot.field)
    if type(value) is str and not slot.keys and not slot.spec:
        return value if not slot.optional or value.strip() else ""
    if value is None and slot.field not in row and not slot.optional:
        raise Fault(f"no field {slot.field!r} {_of(slot.field, row)}")
    value = _reached(slot, value, row)
    if is_missing(value):
        if slot.optional:
            return ""
        said = f"field {str(slot)!r} is empty (null or NaN)"
        raise Fault(f"{said}; write {{{slot}?}} if it may be")
    text = _written(slot, value)
    return "" if slot.optional and not text.strip() else text


def _of(field: str, row: Mapping[str, Any]) -> str:
    listed = ", ".join(row)[:300]
    return f"for the template of WHERE{nearest(field, row)}; the row has {listed}"


def _reached(slot: Slot, value: Any, row: Mapping[str, Any]) -> Any:
    for key in slot.keys:
        if is_missing(value):
            return None
        try:
            value = value[int(key)] if isinstance(value, list | tuple) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            if slot.optional:
                return None
            there = (
                f"it has {', '.join(map(str, value))[:200]}"
                if isinstance(value, dict)
                else (
                    f"it has {len(value)} elements"
                    if isinstance(value, list)
                    else f"it is {_short(value)}"
                )
            )
            raise Fault(f"field {slot.field!r} holds no {key!r} for {{{slot}}}; {there}") from None
    return value


def is_missing(value: Any) -> bool:
    """Whether a value says that nothing is known: null, or NaN, which is no number."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _written(slot: Slot, value: Any) -> str:
    if not slot.spec:
        return as_text(value, str(slot))
    try:
        return format(value, slot.spec)
    except (ValueError, TypeError, OverflowError) as error:
        said = f"field {str(slot)!r} is {_short(value)}, which {{{slot}:{slot.spec}}} cannot write"
        raise Fault(f"{said} ({error})") from None


def as_text(value: Any, name: str) -> str:
    """A value as it is trained: a text as it is, all else as JSON; a date in its own form.

    Raises:
        Fault: bytes, which are no text.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        raise Fault(f"field {name!r} holds bytes, not text; leave it out, or convert it")
    if isinstance(value, bool | int | float | list | dict):
        try:
            return json.dumps(_plain(value), ensure_ascii=False, default=str)
        except (ValueError, RecursionError) as error:
            raise Fault(f"field {name!r} cannot be written ({error})") from None
    return str(value)


def _plain(value: Any) -> Any:
    """The value, its unknown numbers as null: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if is_missing(value) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
