"""Parts of a file that are read each by itself: lines of JSON, which end where a line ends."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tools.data.reading.packing import BLOCK


@dataclass(frozen=True)
class Part:
    """Some whole lines of a file.

    Attributes:
        start: its first byte.
        stop: behind its last byte.
        before: lines of the file before it.
    """

    start: int
    stop: int
    before: int


def cut(path: Path, size: int) -> list[Part]:
    """A file in parts.

    Args:
        path: the file.
        size: bytes of a part, at least; the last may have fewer.
    """
    found, start, before = [], 0, 0
    for stop, lines in _ends(path, size):
        found.append(Part(start, stop, before))
        start, before = stop, before + lines
    return found


def _ends(path: Path, size: int) -> Iterator[tuple[int, int]]:
    """Where each part ends, and how many lines it has."""
    with path.open("rb", buffering=BLOCK) as file:
        while True:
            lines, left = 0, size
            while left > 0 and (block := file.read(min(left, BLOCK))):
                lines += block.count(b"\n")
                left -= len(block)
            if left == size:
                return
            # To the end of the line; where one ended right there the next is taken, too.
            while rest := file.readline(BLOCK):
                if rest.endswith(b"\n"):
                    lines += 1
                    break
            yield file.tell(), lines


def opened(path: Path, part: Part) -> IO[bytes]:
    """The bytes of a part."""
    return io.BufferedReader(_Bytes(path, part), BLOCK)


class _Bytes(io.RawIOBase):
    def __init__(self, path: Path, part: Part) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(part.start)
        self._left = part.stop - part.start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
