"""Pages of files that are given back, and read again."""

import mmap
import re
from pathlib import Path

import pytest

from serve.engine import mapped

MIB = 2**20


def resident(path: Path) -> int:
    """KiB of a mapped file that count as this process's."""
    told = Path("/proc/self/smaps").read_text(encoding="utf-8")
    return sum(int(kib) for kib in re.findall(rf"{path}\n(?:.*\n)*?Rss: +(\d+)", told))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights" * MIB)
    return path


def opened(path: Path) -> mmap.mmap:
    """As torch maps a file: private, to be written to without changing it; all of it read."""
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    assert len(bytes(mapping)) == 7 * MIB
    return mapping


def test_what_was_read_is_left_and_can_be_read_again(weights: Path) -> None:
    mapping = opened(weights)
    assert resident(weights) > 6 * 1024
    mapped.leave(weights.parent)
    assert resident(weights) == 0
    assert mapping[-7:] == b"weights"
    mapping.close()


def test_what_was_changed_stays(weights: Path) -> None:
    mapping = opened(weights)
    mapping[:3] = b"new"
    mapped.leave(weights.parent)
    assert mapping[:7] == b"newghts"
    mapping.close()


def test_another_folder_is_not_touched(weights: Path, tmp_path: Path) -> None:
    mapping = opened(weights)
    mapped.leave(tmp_path.parent)
    assert resident(weights) > 6 * 1024
    mapping.close()
