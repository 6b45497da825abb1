"""Memory that is only taken where something is written, and given back when it is of no use.

A cache has room for every request at its longest, which hardly ever comes. On a CPU the kernel
gives a page of 4 KiB when it is first written to, so the tensors here cost what is in them. On a
card they cost their size from the start.
"""

import ctypes
import mmap
from collections.abc import Sequence

import torch

_DONTNEED = 4  # MADV_DONTNEED of <sys/mman.h>

_libc = ctypes.CDLL(None, use_errno=True)


def zeros(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """Zeros of the type and device of ``like``."""
    size = like.new_empty(0).element_size()
    for length in shape:
        size *= length
    if like.device.type != "cpu" or not size:
        return like.new_zeros(tuple(shape))
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)  # one of 2 MiB would be taken for the first token
    return torch.frombuffer(memory, dtype=like.dtype).view(tuple(shape))


def give_back(tensor: torch.Tensor) -> None:
    """Zeroes a contiguous tensor; on a CPU its whole pages are the kernel's again."""
    if tensor.device.type != "cpu" or not tensor.nbytes:
        tensor.zero_()
        return
    assert tensor.is_contiguous(), "its neighbours would be lost"
    start = tensor.data_ptr()
    stop = start + tensor.nbytes
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = stop // mmap.PAGESIZE * mmap.PAGESIZE
    given = first < last and not _libc.madvise(
        ctypes.c_void_p(first), ctypes.c_size_t(last - first), _DONTNEED
    )
    for begin, end in ((start, first), (last, stop)) if given else ((start, stop),):
        ctypes.memset(begin, 0, end - begin)
