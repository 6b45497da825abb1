"""Opening a source: its files or its set on the hub, and the place of whatever is wrong in it."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tools.data.account import Account
from tools.data.reading import formats
from tools.data.reading.fault import Fault
from tools.data.reading.hub import HubSet
from tools.data.reading.json_rows import Record
from tools.data.reading.parts import cut
from tools.data.shapes import detect
from tools.data.shapes.base import How
from tools.data.shapes.template import BadTemplate
from tools.errors import UserError
from tools.recipe.schema import Source
from tools.run.local_files import is_local, local_files, missing

if TYPE_CHECKING:
    from tools.data.shapes.chat_form import ChatForm

LOOK = 32  # rows of a file that tell its shape, and that `make check` reads
_UNPACKED = 4  # as many bytes as a packed file has, about
NO_ROW = "the file has no row"


class Origin(Protocol):
    """Where records come from."""

    def place(self, number: int | None) -> str:
        """A record's place, as messages name it."""

    def records(self, where: str, wanted: set[str]) -> Iterator[Record]:
        """The records.

        Args:
            where: full key of the source, for messages.
            wanted: the columns that are needed; all where it is empty.
        """

    @property
    def size(self) -> int:
        """About how many bytes there are to read; 0: not known."""

    def cut(self, size: int) -> "Sequence[Origin]":
        """The same in parts of so many bytes, where it can be read so."""


class _Placed(Protocol):
    def place(self, number: int | None) -> str: ...


@dataclass(slots=True)
class Cursor:
    """The record at hand.

    Attributes:
        number: as its origin counts.
        row: its fields.
    """

    number: int | None = None
    row: dict[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def placed(origin: _Placed, where: str) -> Iterator[Cursor]:
    """Give a fault its place, and the source's name where it speaks of it."""
    cursor = Cursor()
    try:
        yield cursor
    except Fault as fault:
        number = (
            None if fault.whole else fault.number if fault.number is not None else cursor.number
        )
        said = fault.said.replace("WHERE", where)
        tail = "" if where in said else f" ({where})"
        raise UserError(f"{origin.place(number)}: {said}{tail}") from None


def watched(records: Iterator[Record], cursor: Cursor, account: Account) -> Iterator[Record]:
    """The records, each noted in ``cursor`` and counted as read in ``account``."""
    for record in records:
        cursor.number, cursor.row = record
        account.read += 1
        yield record


@dataclass(frozen=True)
class _Whole:
    """A file whose format is not known yet."""

    path: Path

    def place(self, number: int | None) -> str:
        return f"{self.path}:{number}" if number else str(self.path)


def first_rows(path: Path, where: str) -> tuple[formats.File, list[Record]]:
    """A file's format and its first records.

    Args:
        path: the file.
        where: full key of the source, for the message.

    Raises:
        UserError: it is of no known format, or cannot be read.
    """
    with placed(_Whole(path), where):
        file = formats.recognize(path)
    with placed(file, where):
        records = formats.records(file, where)
        return file, list(itertools.islice(records, LOOK))


@dataclass(frozen=True)
class _Local:
    file: formats.File

    def place(self, number: int | None) -> str:
        return self.file.place(number)

    def records(self, where: str, wanted: set[str]) -> Iterator[Record]:
        return formats.records(self.file, where, wanted)

    @property
    def size(self) -> int:
        return self.file.path.stat().st_size * (_UNPACKED if self.file.packed else 1)

    def cut(self, size: int) -> "Sequence[_Local]":
        if self.file.form != "JSONL" or self.file.packed or self.size <= size:
            return [self]
        return [_Local(replace(self.file, part=one)) for one in cut(self.file.path, size)]

    def __str__(self) -> str:
        return str(self.file)


def opened(
    name: str, source: Source, seed: str, chat: "ChatForm | None" = None
) -> tuple[Sequence[Origin], How]:
    """Where the records come from, and how they are read.

    Args:
        name: the source's name in the recipe.
        source: its description.
        seed: of what its shape draws.
        chat: the model's chat template, where its turns are written in it.

    Raises:
        UserError: a file is missing or cannot be read, or a template fits no row.
    """
    where = f"data.sources.{name}"
    try:
        if not is_local(source):
            return [HubSet(where, source)], detect.how(source, [], seed, chat)
        paths = local_files(source)
        if not paths:
            raise UserError(f"{where}.path: {missing(source)}")
        found = [first_rows(path, where) for path in paths]
        with placed(found[0][0], where):
            how = detect.how(source, [row for _, row in found[0][1]], seed, chat)
        return [_Local(file) for file, _ in found], how
    except BadTemplate as error:
        raise UserError(f"{where}: {error}") from None
