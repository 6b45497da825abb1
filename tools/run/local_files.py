"""The files of a source that lies here: a file, a folder or a glob, as the recipe names them."""

import glob
from pathlib import Path

from tools.recipe.faults import nearest
from tools.recipe.schema import Source

LOCAL = ("local", "jsonl")  # kinds; jsonl is the older name, of what was one JSONL file
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md")
PACKED = (".gz", ".zst", ".zstd")


def is_local(source: Source) -> bool:
    """Whether the rows come from files of the user's own."""
    return source.kind in LOCAL


def local_files(source: Source) -> list[Path]:
    """The files, sorted, so that every machine reads them in one order; none where none is there.

    ``files`` are names or globs below ``path``; without them ``path`` itself is a file, a glob, or
    a folder, of which every data file counts, by its suffix and however deep it lies.
    """
    if not source.path:  # to Path that is the folder of the call
        return []
    names = [str(Path(source.path, each)) for each in source.files] or [source.path]
    return list(dict.fromkeys(file for name in names for file in _expanded(name)))


def missing(source: Source) -> str:
    """Why there is no file, and the remedy."""
    path = source.path
    if not path:
        return "no file is named; name one, a folder or a glob"
    if source.files or glob.has_magic(path):
        return f"no file matches {', '.join(source.files) or path}; give a path relative to here"
    if _is(path, "dir"):
        kinds = ", ".join(SUFFIXES)
        return f"no file of data in folder {path}; there may be {kinds}, each also .gz or .zst"
    hint = nearest(Path(path).name, _beside(path))
    return f"no file {path}{hint}; give a path relative to where you call make"


def _expanded(name: str) -> list[Path]:
    if _is(name, "file"):
        return [Path(name)]
    if _is(name, "dir"):
        found = sorted(Path(name).rglob("*"))
        return [path for path in found if _is_data(path.relative_to(name)) and path.is_file()]
    if not glob.has_magic(name) or "\0" in name:
        return []
    matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207  (Path's takes no absolute one)
    return [path for path in map(Path, matches) if path.is_file()]


def _is_data(path: Path) -> bool:
    kinds = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in PACKED]
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and bool(kinds) and kinds[-1] in SUFFIXES and path.stem.lower() != "readme"


def _is(name: str, kind: str) -> bool:
    """As pathlib says it; a name too long for the file system is of nothing."""
    try:
        return Path(name).is_dir() if kind == "dir" else Path(name).is_file()
    except (OSError, ValueError):
        return False


def _beside(path: str) -> list[str]:
    folder = Path(path).parent
    try:
        return [each.name for each in folder.iterdir()] if folder.is_dir() else []
    except (OSError, ValueError):
        return []
