"""What every operator takes and gives: rows as columns of Arrow, and an account of what it did.

Rows are a ``pyarrow.Table`` with the columns ``source`` (the source's name), ``place`` (where the
row was read, such as ``file:line``), ``prompt`` and ``completion``, all text, and any fields of the
source that operators ask for, as text, too. Their schema's metadata may name all ``fields`` of the
source as JSON, for messages.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
import pyarrow as pa

from tools.errors import UserError
from tools.recipe.faults import nearest

SHOWN = 3  # examples of what an operator did
_OURS = ("source", "place", "turns", "_row", "_at")
CUT = 100  # characters of an example


@dataclass(frozen=True)
class Example:
    """A row that left or was changed.

    Attributes:
        place: where it was read.
        why: what became of it.
        text: its first characters.
    """

    place: str
    why: str
    text: str


@dataclass(frozen=True)
class Result:
    """What an operator made of the rows.

    Attributes:
        rows: those that stay, in their order; added ones behind the row that they are made of.
        left: number of rows that left, by reason.
        changed: rows whose text is another now.
        added: rows that were not there.
        examples: at most three.
        notes: what else is worth keeping, such as a digest.
    """

    rows: pa.Table
    left: Mapping[str, int] = field(default_factory=dict)
    changed: int = 0
    added: int = 0
    examples: tuple[Example, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


def column(rows: pa.Table, name: str, where: str) -> pa.ChunkedArray:
    """A column by name.

    Args:
        rows: the rows.
        name: the column.
        where: full key of the option that names it, for the message.

    Raises:
        UserError: there is none.
    """
    if name not in rows.column_names:
        named = json.loads((rows.schema.metadata or {}).get(b"fields", b"[]"))
        columns = [one for one in rows.column_names if one not in _OURS]
        known = list(dict.fromkeys([*columns, *named]))
        raise UserError(
            f"{where}: no field {name!r}{nearest(name, known)}; the rows have {', '.join(known)}"
        )
    return rows.column(name)


def kept(
    rows: pa.Table, reasons: Mapping[str, Sequence[int] | np.ndarray], notes: Any = None
) -> Result:
    """The rows that stay, and an account of those that leave.

    Args:
        rows: all rows.
        reasons: by reason, the numbers of the rows that leave for it; a row has one reason.
        notes: as in :class:`Result`.
    """
    stays = np.ones(rows.num_rows, dtype=bool)
    for numbers in reasons.values():
        stays[np.asarray(numbers, dtype=np.int64)] = False
    turns = zip_longest(*([(int(one), why) for one in n[:SHOWN]] for why, n in reasons.items()))
    return Result(
        rows if stays.all() else rows.filter(pa.array(stays)),
        {why: len(numbers) for why, numbers in reasons.items() if len(numbers)},
        # One example of each reason before a second of any.
        examples=examples(rows, [one for turn in turns for one in turn if one]),
        notes=notes or {},
    )


def examples(rows: pa.Table, found: Iterable[tuple[int, str]]) -> tuple[Example, ...]:
    """The first three of some rows, told.

    Args:
        rows: the rows.
        found: numbers of rows, and what became of each.
    """
    made = []
    for number, why in list(found)[:SHOWN]:
        text = " ".join(rows.column("prompt")[number].as_py().split())
        place = rows.column("place")[number].as_py()
        made.append(Example(place, why, text if len(text) <= CUT else f"{text[:CUT]}…"))
    return tuple(made)
