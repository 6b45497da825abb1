"""The house rules of the code: arrows that only go down, functions, files and folders of a size.

``python -m tests.house`` (a part of ``make lint``) prints each breach with its file and remedy.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Rooms of ``tools/``, the top floor first. A room imports from floors below its own, and nothing
#: from its neighbours on the same floor. ``ground`` is the modules beside ``__main__.py``.
FLOORS = (
    ("__main__",),
    ("chain",),
    ("publish",),
    ("report", "rehearse", "rebuild"),
    ("package", "lint", "export"),
    ("sweep",),
    ("stages",),
    ("evaluate",),
    ("score",),
    ("plan",),
    ("check", "preview"),
    ("axolotl",),
    ("trainers",),
    ("data", "day"),
    ("curate",),
    ("run",),
    ("questions", "base_model"),
    ("recipe",),
    ("ground",),
)
LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor}

FUNCTION, FILE, FOLDER = 60, 420, 14  # lines, lines, modules
#: Folders that may hold more modules, and why.
WHY_MORE = {
    "serve": "one process, flat as LitServe's own package: its parts are named by what they answer",
    "serve/engine": "one step loop and its parts; the engines are small files beside base.py",
    "tools/data": "one way from sources to token ids, a file a step; what has kinds is a room",
    "tools/plan": "sides.py is layer.py of models with an encoder: both are read side by side",
    "tools/recipe": "one way from YAML to a Recipe, a file a step; operators/ is a room already",
    "tools/lint/rules": "a file a subject of what is looked for; linter.py lists them",
    "tools/check/rules": "a file a subject of a recipe; __init__.py lists their rules",
    "benchmarks": "scripts, each run by its own Make target; nothing imports them",
}


def sources(root: Path) -> Iterator[Path]:
    """Our own modules: not tests, whose length is their cases."""
    for part in ("tools", "serve", "benchmarks"):
        yield from sorted((root / part).rglob("*.py"))


def room(path: Path, root: Path) -> str:
    """The room of a module below ``tools/``."""
    inside = path.relative_to(root / "tools").parts
    if len(inside) > 1:
        return inside[0]
    return "__main__" if path.stem == "__main__" else "ground"


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a file imports, inside functions, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, f"{node.module}.{one.name}") for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def climbs(root: Path = ROOT) -> Iterator[str]:
    """Every import that does not go down, a line each."""
    for path in sorted((root / "serve").rglob("*.py")):
        for line, name in imports(path):
            if name.split(".")[0] in ("tools", "tests", "benchmarks"):
                yield f"{path.relative_to(root)}:{line}: {name}: serve/ knows nothing but itself"
    for path in sorted((root / "tools").rglob("*.py")):
        here = room(path, root)
        for line, name in imports(path):
            if fault := _climb(here, name, root):
                yield f"{path.relative_to(root)}:{line}: {name}: {fault}"


def _climb(here: str, name: str, root: Path) -> str:
    """What is wrong with an import of ``name`` in a room; empty when nothing is."""
    if here not in LEVEL:
        return f"room {here} stands on no floor; add it to FLOORS in tests/house.py"
    if name.startswith("."):
        return "say the whole name: tools.ROOM.MODULE"
    first, *rest = name.split(".")
    if first in ("tests", "benchmarks"):
        return "the product does not need it"
    if first != "tools" or not rest:
        return ""
    there = rest[0] if (root / "tools" / rest[0]).is_dir() else "ground"
    if there == here or LEVEL.get(there, -1) > LEVEL[here]:
        return ""
    kind = "the same floor" if LEVEL.get(there) == LEVEL[here] else "a floor above"
    return f"{there} is on {kind}; move the name down to where both may use it"


def sizes(root: Path = ROOT) -> Iterator[str]:
    """Functions, files and folders that are too large, a line each."""
    for path in sources(root):
        text = path.read_text(encoding="utf-8")
        where = path.relative_to(root)
        if (lines := len(text.splitlines())) > FILE:
            yield f"{where}: {lines} lines, at most {FILE}; part it by what it does"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > FUNCTION:
                    yield f"{where}:{node.lineno}: {node.name}: {length} lines, at most {FUNCTION}"
    for folder in sorted({path.parent for path in sources(root)}):
        modules = [path for path in folder.glob("*.py") if path.stem != "__init__"]
        name = folder.relative_to(root).as_posix()
        if len(modules) > FOLDER and name not in WHY_MORE:
            yield f"{name}: {len(modules)} modules, at most {FOLDER}; give it rooms, or WHY_MORE"


if __name__ == "__main__":
    found = [*climbs(), *sizes()]
    print("\n".join(found) if found else "house: arrows go down, sizes hold")
    sys.exit(bool(found))
