"""Memory that comes with what is written, and goes."""

import mmap
import re
from pathlib import Path

import pytest
import torch

from serve.engine import pages
from serve.metrics import resident_bytes

MIB = 2**20


def resident_mib() -> float:
    return resident_bytes() / MIB


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zeros(dtype: torch.dtype) -> None:
    made = pages.zeros((2, 3, 5), torch.empty(0, dtype=dtype))
    assert made.shape == (2, 3, 5) and made.dtype == dtype and not made.any()
    made += 1
    assert bool((made == 1).all())


def test_nothing_is_none() -> None:
    assert pages.zeros((0, 3), torch.empty(0)).shape == (0, 3)


def test_only_what_is_written_costs_and_it_can_be_given_back() -> None:
    before = resident_mib()
    made = pages.zeros((64, MIB), torch.empty(0, dtype=torch.uint8))
    assert resident_mib() - before < 8
    made[:32] = 7
    assert 28 < resident_mib() - before < 44
    for row in made[:32]:
        pages.give_back(row)
    assert resident_mib() - before < 8
    assert not made.any()


@pytest.mark.parametrize("start", [0, 1, 4095, 4096])
@pytest.mark.parametrize("length", [1, 4095, 4096, 3 * 4096, 3 * 4096 + 5])
def test_neighbours_on_its_pages_stay(start: int, length: int) -> None:
    made = pages.zeros((6 * mmap.PAGESIZE,), torch.empty(0, dtype=torch.uint8))
    made += 1
    pages.give_back(made[start : start + length])
    assert not made[start : start + length].any()
    assert int(made.sum()) == len(made) - length


def test_a_part_with_gaps_is_refused() -> None:
    made = pages.zeros((4, 4), torch.empty(0))
    with pytest.raises(AssertionError, match="neighbours"):
        pages.give_back(made[:, :2])


def test_huge_pages_are_not_taken() -> None:
    """One of 2 MiB would be resident for a single token; /proc says so of a mapping (``nh``)."""
    made = pages.zeros((64 * MIB,), torch.empty(0, dtype=torch.uint8))
    told = Path("/proc/self/smaps").read_text(encoding="ascii", errors="replace")
    found = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) (?:.*\n)*?VmFlags:(.*)", told, re.MULTILINE)
    (flags,) = [
        flags for start, stop, flags in found if int(start, 16) <= made.data_ptr() < int(stop, 16)
    ]
    assert "nh" in flags.split()
