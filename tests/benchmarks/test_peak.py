"""The peak of a child is its own and its children's."""

import sys
from pathlib import Path

from benchmarks.peak import run

HOLD = "import time; held = b'x' * {mb} * 1000000; time.sleep(1.5); print('said')"
BOTH = (
    "import subprocess, sys; held = b'x' * 200000000; subprocess.run([sys.executable, '-c', {!r}])"
)


def test_a_childs_memory_and_words(tmp_path: Path) -> None:
    ended = run([sys.executable, "-c", HOLD.format(mb=300)], tmp_path / "log", tmp_path)
    assert ended.code == 0 and ended.output == "said\n"
    assert 0.30e9 < ended.peak < 0.40e9 and ended.seconds > 1.4


def test_its_own_children_count(tmp_path: Path) -> None:
    script = BOTH.format(HOLD.format(mb=200))
    ended = run([sys.executable, "-c", script], tmp_path / "log", tmp_path)
    assert 0.40e9 < ended.peak < 0.50e9


def test_how_it_ended(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "raise SystemExit('bad')"]
    ended = run(words, tmp_path / "log", tmp_path)
    assert ended.code == 1 and "bad" in ended.output


def test_pages_of_a_file_are_not_its_own(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 300_000_000)
    words = (
        f"import mmap, time; f = open({str(file)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1)"
    )
    script = f"{words}; sum(m[i] for i in range(0, len(m), 4096)); time.sleep(1)"
    ended = run([sys.executable, "-c", script], tmp_path / "log", tmp_path)
    assert ended.code == 0 and ended.peak > 0.30e9 and ended.own < 0.1e9
