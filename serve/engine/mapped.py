"""Weights that lie mapped in memory: their pages are the files', and nobody's own.

Of a float32 folder every weight is a view of its file. Where each layer has been laid out anew,
only the embedding's rows are read of it again, but all pages that were read once count as the
process's.
"""

import ctypes
import re
from pathlib import Path

_DONTNEED = 4  # MADV_DONTNEED of <sys/mman.h>
_BEGINNING = re.compile(r"^(?=[0-9a-f]+-[0-9a-f]+ )", re.MULTILINE)
_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ +(/.*)")
_CHANGED = re.compile(r"^(Anonymous|Swap): +[1-9]", re.MULTILINE)


def leave(folder: Path) -> None:
    """Gives the kernel the pages of a folder's files back; who reads one gets it of the file again.

    A mapping that was written to stays: what was changed is nowhere else. So do all where there is
    no Linux to tell.

    Args:
        folder: the model's.
    """
    try:
        told = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")
        madvise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return
    for one in _BEGINNING.split(told):
        head = _HEAD.match(one)
        if head and Path(head[3]).parent == folder.resolve() and not _CHANGED.search(one):
            start, stop = int(head[1], 16), int(head[2], 16)
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), _DONTNEED)
