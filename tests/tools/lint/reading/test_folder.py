"""What .dockerignore hides, and what a COPY source names."""

import re
from pathlib import Path

import pytest

from tools.lint.reading.folder import Folder, glob

FILES = ["a.txt", "b.py", "d/a.txt", "d/e/f.py", "g h/i.txt", "Dockerfile"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        ("*.txt", {"b.py", "d/a.txt", "d/e/f.py", "g h/i.txt", "Dockerfile"}),
        ("**/*.txt", {"b.py", "d/e/f.py", "Dockerfile"}),
        ("/d", {"a.txt", "b.py", "g h/i.txt", "Dockerfile"}),
        ("d/\n!d/e", {"a.txt", "b.py", "d/e/f.py", "g h/i.txt", "Dockerfile"}),
        ("# *\n\n*\n!b.py", {"b.py"}),
        ("d/e/f.p?", {"a.txt", "b.py", "d/a.txt", "g h/i.txt", "Dockerfile"}),
    ],
)
def test_what_docker_is_sent(root: Path, ignore: str, left: set[str]) -> None:
    (root / ".dockerignore").write_text(ignore)
    assert set(Folder.read(root).context) - {".dockerignore"} == left


def test_what_a_source_names(root: Path) -> None:
    folder = Folder.read(root)
    assert folder.matching("d") == folder.matching("./d/") == ["d/a.txt", "d/e/f.py"]
    assert folder.matching("*.py") == ["b.py"] and folder.matching("/a.txt") == ["a.txt"]
    assert set(folder.matching(".")) == set(FILES) and folder.matching("x*") == []


def test_binary_and_long_files_have_no_text(root: Path) -> None:
    (root / "b.bin").write_bytes(b"\0\1\2")
    folder = Folder.read(root)
    assert folder.text("b.bin") is None and folder.text("nothing") is None
    assert folder.text("a.txt") == "a.txt"


@pytest.mark.parametrize("pattern", ["[]", "[^]", "[z-a]", "[\\]", "a[]b"])
def test_brackets_that_hold_no_set_are_themselves(pattern: str) -> None:
    assert re.fullmatch(glob(pattern), pattern)
