"""The house rules of the code: arrows that only go down, sizes, nothing twice, kinds by record.

``python -m tests.house`` (a part of ``make lint``) prints each breach with its file and remedy.
"""

import ast
import io
import keyword
import sys
import tokenize
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
#: Lines that may not stand twice: as they are, and inside functions whatever is named in them.
SAME, ALIKE = 10, 8
#: Rooms of trainers, of engines, and of what is made for them: what is alike there is one.
ONE_OF_A_KIND = ("serve/engine", "tools/axolotl", "tools/base_model", "tools/export",
                 "tools/stages", "tools/trainers")  # fmt: skip
#: Kinds of models, and the only modules that ask for one by its name: the records and factories.
KINDS = ("causal", "seq2seq", "encoder")
FACTORIES = ("serve/engine/__init__.py", "serve/engine/kinds.py", "tools/recipe/kinds.py",
             "tools/stages/asking.py", "tools/stages/trainers.py")  # fmt: skip
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


def repeats(root: Path = ROOT) -> Iterator[str]:
    """Every block of lines that stands twice, a line each, at its second place.

    Blanks, comments, docstrings and imports are no lines.
    """
    files = [*sources(root)]
    rooms = [one for one in files if one.relative_to(root).as_posix().startswith(ONE_OF_A_KIND)]
    told: set[tuple[Path, Path]] = set()
    for paths, count, alike in ((files, SAME, False), (rooms, ALIKE, True)):
        first: dict[tuple[str, ...], tuple[Path, int]] = {}
        for path in paths:
            found = _lines(path, alike)
            for at in range(len(found) - count + 1):
                block = tuple(text for _, text in found[at : at + count])
                one, line = first.setdefault(block, (path, found[at][0]))
                if (one, line) == (path, found[at][0]) or (path, one) in told:
                    continue
                told.add((path, one))  # of a longer block its first lines are enough
                yield (
                    f"{path.relative_to(root)}:{found[at][0]}: {count} lines as in "
                    f"{one.relative_to(root)}:{line}; make one function of both"
                )


def _lines(path: Path, alike: bool) -> list[tuple[int, str]]:
    """Number and words of each line; ``alike``: inside functions, a name as good as another."""
    text = path.read_text(encoding="utf-8")
    inside, outside = _spans(ast.parse(text))
    words: dict[int, list[str]] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line = token.start[0]
        if not token.string.strip() or token.type == tokenize.COMMENT or line in outside:
            continue
        if not alike:
            words.setdefault(line, []).append(token.string)
        elif line in inside:
            words.setdefault(line, []).append(_shape(token))
    return [(line, " ".join(words[line])) for line in sorted(words)]


def _spans(tree: ast.Module) -> tuple[set[int], set[int]]:
    """Lines of the bodies of functions, and of docstrings and imports."""
    inside: set[int] = set()
    outside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside.update(range(node.body[0].lineno, (node.end_lineno or 0) + 1))
        elif isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):
            outside.update(range(node.lineno, (node.end_lineno or 0) + 1))
    return inside, outside


def _shape(token: tokenize.TokenInfo) -> str:
    """A name or a text as any other of its sort."""
    if token.type in (tokenize.STRING, tokenize.FSTRING_MIDDLE):
        return "text"
    named = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
    return "name" if named else token.string


def by_name(root: Path = ROOT) -> Iterator[str]:
    """Every comparison with a kind's name outside the factories, a line each."""
    for path in sources(root):
        where = path.relative_to(root).as_posix()
        if where in FACTORIES or where.startswith("benchmarks/"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare | ast.Match) and _asks_a_kind(node):
                yield f"{where}:{node.lineno}: asks for a kind by its name; ask its record"


def _asks_a_kind(node: ast.Compare | ast.Match) -> bool:
    """``kind == "encoder"`` and its like; ``side == "encoder"`` is of something else."""
    named = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
    asked = ast.unparse(node.subject if isinstance(node, ast.Match) else node).lower()
    return bool(named & set(KINDS)) and any(
        word in asked for word in ("kind", ".name", "of_folder")
    )


if __name__ == "__main__":
    found = [*climbs(), *sizes(), *repeats(), *by_name()]
    print("\n".join(found) if found else "house: arrows go down, sizes hold, nothing stands twice")
    sys.exit(bool(found))
