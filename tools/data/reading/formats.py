"""A file's format by its first bytes, and its records with their places."""

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from tools.data.reading import csv_rows, json_rows, packing, parquet_rows, parts
from tools.data.reading.fault import Fault
from tools.data.reading.json_rows import BOM, Record
from tools.run.local_files import PACKED

HEAD = 2**16  # bytes that tell the format

# What a file may be instead of rows: its first bytes, and what to do about it.
_OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; fetch it: git lfs pull",
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save the sheet as CSV",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
    b"BZh": "bzip2; pack it as gzip or zstandard, or not at all",
    b"\xfd7zXZ": "xz; pack it as gzip or zstandard, or not at all",
    b"7z\xbc\xaf": "7z; unpack it",
    b"ARROW1": "an Arrow file; write it as Parquet",
    b"<!doctype": "a web page; the download met a login or an error: fetch the file itself",
    b"<html": "a web page; the download met a login or an error: fetch the file itself",
    b"SQLite": "a database; export the table as CSV",
    b"%PDF": "a PDF; bring its text",
}


@dataclass(frozen=True)
class File:
    """A file whose format is known.

    Attributes:
        path: of the file.
        form: ``JSONL``, ``JSON array``, ``JSON object``, ``CSV``, ``Parquet`` or ``text``.
        packed: ``gzip``, ``zstandard`` or empty.
        sign: what parts the cells of a CSV; empty elsewhere.
        part: of the file this one alone, as ``parts.cut`` gives it; None: all of it.
    """

    path: Path
    form: str
    packed: str = ""
    sign: str = ""
    part: parts.Part | None = None

    def place(self, number: int | None) -> str:
        """Where a row is: its line where rows have lines of their own, else its number."""
        if number is None:
            return str(self.path)
        by_line = self.form in ("JSONL", "CSV", "JSON object")
        return f"{self.path}:{number}" if by_line else f"{self.path} row {number}"

    def __str__(self) -> str:
        part = f" parted by {csv_rows.DELIMITERS[self.sign]}" if self.sign else ""
        return f"{self.form}{part}{f' in {self.packed}' if self.packed else ''}"


def recognize(path: Path) -> File:
    """Tell a file's format.

    Raises:
        Fault: it holds nothing, or no rows.
    """
    try:
        with path.open("rb") as file:
            packed = packing.packing(file.read(4))
        with packing.opened(path, packed) as stream:
            head = stream.read(HEAD)
    except OSError as error:
        raise Fault(f"cannot be read ({error.strerror}); mend its rights", whole=True) from None
    if not head.removeprefix(BOM).strip():
        raise Fault("the file has no row", whole=True)
    return _by_head(path, packed, head)


def _by_head(path: Path, packed: str, head: bytes) -> File:
    start = head.removeprefix(BOM).lstrip()
    if start.startswith(b"PAR1"):
        return File(path, "Parquet", packed)
    for mark, said in _OTHERS.items():
        if start[: len(mark)].lower() == mark.lower():
            raise Fault(f"this is {said}", whole=True)
    suffix = _suffix(path)
    if suffix == ".parquet":
        raise Fault("not whole Parquet (no magic bytes); fetch or write the file anew", whole=True)
    if suffix in (".txt", ".md"):
        return File(path, "text", packed)
    if start[:1] == b"{" or suffix in (".jsonl", ".ndjson"):
        return File(path, "JSON object" if _indented(start) else "JSONL", packed)
    if start[:1] == b"[":
        return File(path, "JSONL" if _lists(start) else "JSON array", packed)
    if suffix == ".json":
        raise Fault("not JSON: it begins with neither { nor [", 1)
    sign = csv_rows.delimiter(head)
    if not sign and suffix not in (".csv", ".tsv"):
        said = "neither JSON nor CSV nor Parquet; name it .txt if each file is one text to learn"
        raise Fault(said, whole=True)
    return File(path, "CSV", packed, sign or ",")


def _suffix(path: Path) -> str:
    kinds = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in PACKED]
    return kinds[-1] if kinds else ""


def _indented(start: bytes) -> bool:
    """Whether an object goes over several lines: the second line of JSONL begins with a brace."""
    first, _, rest = start.partition(b"\n")
    second = rest.lstrip()[:1]
    return start[:1] == b"{" and second not in (b"", b"{") and not _is_json(first)


def _lists(start: bytes) -> bool:
    """Whether each line is an array of its own."""
    first, _, rest = start.partition(b"\n")
    return bool(rest.strip()) and _is_json(first) and rest.lstrip()[:1] in (b"[", b"{")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def records(file: File, where: str, wanted: Collection[str] = ()) -> Iterator[Record]:
    """The records of a file.

    Args:
        file: as ``recognize`` gave it.
        where: the source's full key, for messages.
        wanted: the columns that are needed; all where it is empty.

    Raises:
        Fault: a row or the file is broken.
    """
    readers: dict[str, Callable[[IO[bytes]], Iterator[Record]]] = {
        "JSONL": partial(json_rows.lines, where=where),
        "JSON array": json_rows.array,
        "JSON object": json_rows.one,
        "CSV": partial(csv_rows.rows, sign=file.sign),
        "Parquet": partial(_parquet, wanted=wanted),
        "text": _document,
    }
    if file.part:
        with parts.opened(file.path, file.part) as stream:
            yield from json_rows.lines(stream, where, file.part.before)
        return
    with packing.opened(file.path, file.packed) as stream:
        yield from readers[file.form](stream)


def _parquet(stream: IO[bytes], wanted: Collection[str]) -> Iterator[Record]:
    import io

    # A packed file can only be read forward, and Parquet begins at its end.
    back = stream if stream.seekable() else io.BytesIO(stream.read())
    yield from parquet_rows.rows(back, wanted)


def _document(stream: IO[bytes]) -> Iterator[Record]:
    data = stream.read().removeprefix(BOM)
    try:
        yield 1, {"text": data.decode()}
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Fault(f"line {line}: {json_rows.not_utf8(data[error.start])}", whole=True) from None
