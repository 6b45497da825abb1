"""Memory given back before its time: mapped files' pages, and what was freed. Linux and glibc.

Elsewhere nothing is done, and nothing else is computed.
"""

import ctypes
import mmap
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DONTNEED = 4  # MADV_DONTNEED of <sys/mman.h>
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's <malloc.h>
_APART = 4 << 20  # bytes
_HEAD = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ +(/.*)$")


@dataclass(frozen=True)
class Mapped:
    """Where files of a folder lie in this process's memory, as they are on the disk.

    Attributes:
        ranges: first byte and end of each mapping, addresses.
    """

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, folder: Path) -> "Mapped":
        """Its mapped files, but those of which a page was written to: that page is nowhere else."""
        try:
            told = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return cls(())
        found: list[tuple[int, int]] = []
        for begin, end, file, more in _mappings(told):
            # Not Private_Dirty: that is as well what was just written to the file.
            written = re.search(r"^(Anonymous|Swap): +[1-9]", more, re.MULTILINE)
            if Path(file).parent == folder.resolve() and not written:
                found.append((begin, end))
        return cls(tuple(found))

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def leave(self, address: int, size: int) -> None:
        """Give back the pages that lie in this stretch of memory whole, if it is a file's.

        Who reads them again gets them of the file. A kernel that will not leaves them be.

        Args:
            address: of its first byte.
            size: bytes.
        """
        if not any(begin <= address and address + size <= end for begin, end in self.ranges):
            return
        first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (address + size) // mmap.PAGESIZE * mmap.PAGESIZE
        if last > first:
            _libc("madvise", ctypes.c_void_p(first), ctypes.c_size_t(last - first), _DONTNEED)


def free_at_once() -> None:
    """From now on the memory of a large tensor goes back to the system with it.

    By itself glibc raises the size from which it does so up to 32 MiB, and keeps what is smaller in
    its heap, which shrinks no further than to the last small thing that lies in it: of a model of
    1.1 GB that was unpacked layer by layer, 0.3 GB to 0.5 GB more were resident. It costs new pages
    for each tensor.
    """
    _libc("mallopt", _MMAP_THRESHOLD, _APART)


def _libc(name: str, *values: Any) -> None:
    """Call a function of the C library, where it has it."""
    if (function := getattr(ctypes.CDLL(None), name, None)) is not None:
        function(*values)


def _mappings(told: str) -> list[tuple[int, int, str, str]]:
    """Begin, end, file and what else the kernel says of each mapping of a file."""
    found: list[tuple[int, int, str, list[str]]] = []
    inside = False
    for line in told.splitlines():
        if re.match(r"^[0-9a-f]+-[0-9a-f]+ ", line):
            head = _HEAD.match(line)
            inside = head is not None
            if head:
                found.append((int(head[1], 16), int(head[2], 16), head[3], []))
        elif inside:
            found[-1][3].append(line)
    return [(begin, end, file, "\n".join(lines)) for begin, end, file, lines in found]
