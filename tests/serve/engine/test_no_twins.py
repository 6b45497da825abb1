"""What two engines share stands once, and one place asks for the kind of a model."""

import re
from itertools import combinations
from pathlib import Path

ENGINES = Path(__file__).resolve().parents[3] / "serve" / "engine"
LINES = 10


def blocks(path: Path) -> dict[tuple[str, ...], int]:
    """Every run of so many lines that have something in them, and where it begins."""
    lines = [
        (number, line.strip())
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if line.strip() and not line.startswith(("import ", "from "))
    ]
    return {
        tuple(text for _, text in lines[start : start + LINES]): lines[start][0]
        for start in range(len(lines) - LINES + 1)
    }


def test_no_block_stands_in_two_files() -> None:
    files = {path.name: blocks(path) for path in sorted(ENGINES.glob("*.py"))}
    assert len(files) > 20
    twins = [
        f"{one}:{files[one][block]} and {other}:{files[other][block]}"
        for one, other in combinations(files, 2)
        for block in files[one].keys() & files[other].keys()
    ]
    assert not twins


def test_one_place_asks_for_the_kind_by_name() -> None:
    asked = re.compile(r"""["'](?:seq2seq|encoder|causal)["']""")
    found = [
        path.name
        for path in sorted(ENGINES.parent.rglob("*.py"))
        if asked.search(path.read_text(encoding="utf-8")) and path.name != "kinds.py"
    ]
    assert found == ["__init__.py"]
