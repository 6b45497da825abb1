"""JSON in its three ways: an object a line, an array of objects, one object."""

import json
from collections.abc import Callable, Iterator
from typing import IO, Any

from tools.data.reading.fault import Fault

Fields = dict[str, Any]
Record = tuple[int, Fields]

BOM = b"\xef\xbb\xbf"
LONGEST = 2**24  # bytes of a line; a longer one is no row
_BLOCK = 2**18  # bytes of an array read at once


def _missing(constant: str) -> None:
    """NaN and the infinities: no JSON, yet written by many tools where nothing is known."""


def _unlike(pairs: list[tuple[str, Any]]) -> Fields:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Fault(f"field {twice!r} stands in this row twice; keep one")
    return found


# Made once: json.loads with a hook would make one a call.
_PLAIN = json.JSONDecoder(parse_constant=_missing)
_STRICT = json.JSONDecoder(parse_constant=_missing, object_pairs_hook=_unlike)


def lines(stream: IO[bytes], where: str, before: int = 0) -> Iterator[Record]:
    """An object a line; blank lines are none.

    Args:
        stream: the file's bytes.
        where: what wants the rows, for the message.
        before: lines of the file that stand before these bytes.

    Raises:
        Fault: with the line.
    """
    number, read = before, stream.readline
    scan = _PLAIN.scan_once  # type: ignore[attr-defined]  # the scanner itself, in C
    while line := read(LONGEST + 1):
        number += 1
        try:
            # The usual line, without the detours that json.loads takes.
            text = line.decode()
            fields, end = scan(text, 0)
            usual = fields.__class__ is dict and text[end:] in _ENDS
        except (ValueError, StopIteration, RecursionError):
            usual = False
        if not usual:
            if (fields := _unusual(line, number, where)) is None:
                continue
        # A key more than fields may be a key written twice; or a value that holds JSON.
        elif line.count(b'":') != len(fields):
            _parsed(_STRICT.decode, line, number, where)
        yield number, fields


_ENDS = ("\n", "\r\n", "")


def _unusual(line: bytes, number: int, where: str) -> Fields | None:
    """The object of a line with blanks, a mark or a fault; None of a blank line."""
    if len(line) > LONGEST:
        said = f"a line of more than {LONGEST:,} bytes is no row; part the rows by line ends"
        raise Fault(said, number)
    if number == 1:
        line = line.removeprefix(BOM)
    if not line.strip():
        return None
    fields = _parsed(_STRICT.decode, line, number, where)
    if not isinstance(fields, dict):
        raise Fault(f"not an object; {where} wants one object a line", number)
    return fields


def _parsed(decode: Callable[[str], Any], line: bytes, number: int, where: str) -> Any:
    try:
        return decode(line.rstrip(b"\r\n").decode())
    except UnicodeDecodeError as error:
        raise Fault(not_utf8(line[error.start]), number) from None
    except RecursionError:
        raise Fault("nested too deep to be a row", number) from None
    except ValueError as error:
        said = f"not JSON ({error}); {where} wants one object a line"
        raise Fault(said, number) from None
    except Fault as fault:
        raise Fault(fault.said, number) from None


def not_utf8(byte: int) -> str:
    """The message for a byte that no UTF-8 has there."""
    return f"not UTF-8 (byte 0x{byte:02x}); save the file as UTF-8, or mend the row"


def one(stream: IO[bytes]) -> Iterator[Record]:
    """The whole file as one object."""
    text = _text(stream.read())
    try:
        fields = _STRICT.decode(text)
    except json.JSONDecodeError as error:
        raise Fault(f"not JSON ({error.msg})", error.lineno) from None
    except (ValueError, RecursionError) as error:
        raise Fault(f"not JSON ({error})", 1) from None
    if not isinstance(fields, dict):
        raise Fault("not an object", 1)
    yield 1, fields


def _text(data: bytes) -> str:
    try:
        return data.removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        raise Fault(not_utf8(data[error.start]), data.count(b"\n", 0, error.start) + 1) from None


def array(stream: IO[bytes]) -> Iterator[Record]:
    """The objects of one array, read a block at a time.

    Raises:
        Fault: with the number of the object in the array, from 1.
    """
    reader, number = _Array(stream), 0
    while reader.more(number):
        number += 1
        fields = reader.value(number)
        if not isinstance(fields, dict):
            raise Fault("not an object; the array's elements are the rows", number)
        yield number, fields


class _Array:
    """The text of an array, from which values are taken off at the front."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._text, self._at, self._end = stream, "", 0, False
        self._bytes = b""
        self._fill(0)
        self._text = self._text.removeprefix("\ufeff")
        self._skip()
        self._at += 1  # the bracket, by which the format was told

    def more(self, number: int) -> bool:
        """Whether another value follows; takes the comma before it."""
        sign = self._skip()
        if sign == "]":
            self._at += 1
            if self._skip():
                raise Fault("text behind the array's end; one array is one file", number)
            return False
        if number and sign != ",":
            raise Fault("the array ends early or a comma is missing behind this row", number)
        if number:
            self._at += 1
            self._skip()
        return True

    def value(self, number: int) -> Any:
        """The next value."""
        size = _BLOCK
        while True:
            try:
                found, self._at = _STRICT.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # Far from the end of what was read it is no matter of reading on.
                open_text = error.msg.startswith("Unterminated")
                if self._end or (error.pos < len(self._text) - 16 and not open_text):
                    raise Fault(f"not JSON ({error.msg})", number) from None
                if len(self._text) - self._at > 4 * LONGEST:
                    raise Fault(f"a row of more than {LONGEST:,} bytes", number) from None
                size *= 2
                self._fill(number, size)
            except (RecursionError, ValueError) as error:
                raise Fault(f"not JSON ({error})", number) from None
            except Fault as fault:
                raise Fault(fault.said, number) from None
            else:
                return found

    def _skip(self) -> str:
        """Go over blanks; the sign there, nothing at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._end:
                return ""
            self._fill(0)

    def _fill(self, number: int, size: int = _BLOCK) -> None:
        block = self._stream.read(size)
        self._end = not block
        data = self._bytes + block
        try:
            text, self._bytes = data.decode(), b""
        except UnicodeDecodeError as error:
            if self._end or len(data) - error.start > 3:
                raise Fault(not_utf8(data[error.start]), number + 1) from None
            text, self._bytes = data[: error.start].decode(), data[error.start :]
        self._text, self._at = self._text[self._at :] + text, 0
