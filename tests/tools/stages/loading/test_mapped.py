"""Pages of mapped files that are left, and come back as they were."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tools.stages.loading.mapped import Mapped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what Linux says of its memory")
NUMBERS = 2 << 20  # 8 MiB of them


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a folder" / "model.safetensors"
    path.parent.mkdir()
    save_file({"one": torch.arange(NUMBERS).float(), "two": torch.ones(NUMBERS)}, path)
    return path


def opened(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in ("one", "two")}


def resident(path: Path) -> int:
    """kB of a file that are in this process's memory."""
    inside, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith(f" {path}")
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


def test_what_was_read_is_left_and_comes_back(file: Path) -> None:
    tensors = opened(file)
    found = Mapped.of(file.parent)
    assert found and torch.equal(tensors["one"], torch.arange(NUMBERS).float())
    assert tensors["two"].sum() == NUMBERS
    before = resident(file)
    found.leave(tensors["one"].data_ptr(), tensors["one"].nbytes)
    assert before > 15 << 10 and before - resident(file) > 7 << 10
    assert torch.equal(tensors["one"], torch.arange(NUMBERS).float())


def test_what_was_written_to_stays(file: Path) -> None:
    tensors = opened(file)
    tensors["one"][5] = -1
    found = Mapped.of(file.parent)
    found.leave(tensors["one"].data_ptr(), tensors["one"].nbytes)
    assert tensors["one"][5] == -1


def test_memory_of_no_file_is_not_touched(file: Path) -> None:
    tensors, other = opened(file), torch.full((NUMBERS,), 7.0)
    found = Mapped.of(file.parent)
    found.leave(other.data_ptr(), other.nbytes)
    assert bool(other.eq(7).all()) and tensors


def test_a_neighbour_on_the_same_page_is_not_left(tmp_path: Path) -> None:
    """A page that two tensors share stays: only whole ones go."""
    path = tmp_path / "model.safetensors"
    save_file({"one": torch.ones(8), "two": torch.ones(8)}, path)
    tensors = opened(path)
    assert tensors["one"].sum() + tensors["two"].sum() == 16
    before = resident(path)
    Mapped.of(tmp_path).leave(tensors["one"].data_ptr(), tensors["one"].nbytes)
    assert resident(path) == before > 0


def test_of_a_folder_that_nobody_reads_there_is_nothing(tmp_path: Path) -> None:
    assert not Mapped.of(tmp_path)


def test_a_freed_tensor_s_memory_goes_back() -> None:
    """In a process of its own: the threshold cannot be set back."""
    words = """
import re, torch
from pathlib import Path
from tools.stages.loading.mapped import free_at_once
def resident():
    told = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\\s+(\\d+)", told)[1])
%s
kept = []
torch.ones(30 << 20, dtype=torch.uint8)  # glibc learns from it that such sizes come again
begun = resident()
for _ in range(20):
    large = [torch.ones(16 << 20, dtype=torch.uint8) for _ in range(4)]
    kept.append(torch.ones(40_000, dtype=torch.uint8))
    del large
print(resident() - begun)
"""
    more = [
        int(subprocess.check_output([sys.executable, "-c", words % call], text=True).split()[-1])
        for call in ("free_at_once()", "")
    ]
    assert more[0] < 8 << 10 and more[0] < more[1], more
