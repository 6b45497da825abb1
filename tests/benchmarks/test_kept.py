"""Two engines in turn: here both are of this tree, on a model of no size."""

import subprocess
import sys
from pathlib import Path

from benchmarks.kept_side import LOADS, Writer

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.kept", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_the_table(model: Path) -> None:
    options = ("--loads", "shared,again,runs", "--repeats", "1", "--scale", "0.1")
    done = run("--old", str(ROOT), "--model", str(model), *options)
    assert done.returncode == 0, done.stderr
    rows = {words[0]: words for words in map(str.split, done.stdout.splitlines()[-3:])}
    assert set(rows) == {"shared", "again", "runs"}
    for words in rows.values():
        assert all(float(word) > 0 for word in words[1:4]) and words[-3] == words[-1], words
    assert int(rows["again"][5].rstrip("%")) > 90, "all but the last token was there"


def test_the_same_prompts_are_asked_again() -> None:
    assert LOADS["again"][1](Writer("s", 99, 1)) == LOADS["shared"][1](Writer("s", 99, 1))
    assert LOADS["shared"][1](Writer("t", 99, 1)) != LOADS["shared"][1](Writer("s", 99, 1))


def test_a_folder_that_is_no_tree_is_said(tmp_path: Path) -> None:
    done = run("--old", str(tmp_path), "--model", str(tmp_path))
    assert done.returncode == 2 and "is no tree of this repository" in done.stderr
