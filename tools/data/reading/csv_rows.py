"""CSV with a header: texts in quotes may hold commas and line ends."""

import csv
import io
from collections.abc import Iterator
from typing import IO

from tools.data.reading.fault import Fault
from tools.data.reading.json_rows import LONGEST, Record, not_utf8

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}


def delimiter(head: bytes) -> str:
    """The sign that parts the cells of the first line; nothing when there is one cell."""
    line = head.decode("utf-8", "replace").lstrip("\ufeff\r\n").partition("\n")[0]
    bare = "".join(line.split('"')[::2])  # outside of quotes
    counts = {sign: bare.count(sign) for sign in DELIMITERS}
    best = max(counts, key=lambda sign: counts[sign])
    return best if counts[best] else ""


def rows(stream: IO[bytes], sign: str) -> Iterator[Record]:
    """The rows below the header, numbered by the line that they begin in.

    Raises:
        Fault: with the line.
    """
    csv.field_size_limit(LONGEST)
    # What is no UTF-8 is carried along and found in its cell: the decoder alone knows no line.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=sign or ",", strict=True)
    names: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            if not cells:
                pass
            elif names is None:
                names = _header(cells, line)
            else:
                yield line, _row(names, cells, line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise Fault(f"not CSV ({error}); is a quote left open from here on?", line) from None


def _header(cells: list[str], line: int) -> list[str]:
    names = [_clean(cell, line).strip() for cell in cells]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise Fault(f"column {twice[0]!r} stands in the header twice; rename one", line)
    return names


def _row(names: list[str], cells: list[str], line: int) -> dict[str, str]:
    if len(cells) != len(names):
        said = f"{len(cells)} cells, and the header has {len(names)} ({', '.join(names)[:200]})"
        raise Fault(f"{said}; put texts that hold the delimiter into quotes", line)
    for cell in cells:
        if not cell.isascii():
            _clean(cell, line)
    return dict(zip(names, cells, strict=True))


def _clean(cell: str, line: int) -> str:
    for sign in cell:
        if 0xDC80 <= ord(sign) <= 0xDCFF:  # what surrogateescape makes of a byte
            raise Fault(not_utf8(ord(sign) - 0xDC00), line)
    return cell
