"""What goes into a submission: an allow-list of this repository's files, and what the run adds."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tools.package import image, readme, statement
from tools.package.names import ROOT, make_words, slug
from tools.recipe import written
from tools.recipe.redact import redact
from tools.recipe.schema import Recipe
from tools.run.folder import Run
from tools.run.local_files import is_local, local_files
from tools.run.provenance import MANIFEST

ALLOWED = (
    "LICENSE",
    "Makefile",
    "openapi.json",
    "recipes/rules.yaml",
    "recipes/hardware/*.yaml",
    "recipes/deepspeed/*.json",
    "requirements/*.txt",
    "requirements/find-python.sh",
    "requirements/install.py",
    "requirements/hashed/*.txt",
    "serve/**/*",
    "tools/**/*",
)
# Of serve/ and tools/: their text. Editors and file managers leave other things there.
TEXTS = {"", ".py", ".sh", ".json", ".txt", ".yaml", ".html", ".css", ".js", ".svg"}
SAFE = re.compile(r"[A-Za-z0-9._/+-]+")
_SAFE_ONLY = "Docker and the organizers' scripts take letters, digits, ._-+ in paths only"


def recipe_faults(recipe: Recipe) -> Iterator[str]:
    """What of a recipe only its author has."""
    if recipe.model.source == "local":
        yield (
            f"model.path: nobody else has {recipe.model.path}, so nobody can train anew; give the "
            "base model by hub id and revision"
        )
    for path, name in _row_files(recipe).items():
        where = f"data.sources.{name}.path"
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            yield f"{where}: {path} lies elsewhere; copy it here and give a path relative to here"
        elif not SAFE.fullmatch(path):
            yield f"{where}: {path}: {_SAFE_ONLY}"


def _row_files(recipe: Recipe) -> dict[str, str]:
    """The user's own data files, each with its source: self-made data must be open by then."""
    sources = recipe.data.sources.items()
    return {
        str(path): name for name, each in sources if is_local(each) for path in local_files(each)
    }


def files(run: Run, weights: dict[str, Any]) -> dict[str, bytes]:
    """Every file of the submission, by its path in it.

    Args:
        run: the finished run.
        weights: what ``weights.json`` will say.
    """
    recipe = run.recipe
    rows = sorted(_row_files(recipe))
    found = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in _allowed()}
    found |= {path: Path(path).read_bytes() for path in rows}

    texts = {
        "Dockerfile": image.adapt(ROOT, recipe, make_words(recipe.name), rows),
        ".dockerignore": image.ignore(ROOT, rows),
        f"recipes/{slug(recipe.name)}.yaml": _recipe_text(recipe),
        "weights.json": _json(weights),
        "serve.json": _json(dataclasses.asdict(recipe.serve)),
        MANIFEST: (run.path / MANIFEST).read_text(encoding="utf-8"),
        "DATA.md": statement.render(run, rows),
        "README.md": readme.render(recipe, weights),
    }
    found |= {name: text.encode() for name, text in texts.items()}
    return dict(sorted(found.items()))


def _allowed() -> Iterator[Path]:
    for pattern in ALLOWED:
        for path in sorted(ROOT.glob(pattern)):
            *folders, name = path.relative_to(ROOT).parts
            hidden = name.startswith(".") or any(one.startswith((".", "__")) for one in folders)
            if path.is_file() and not hidden and path.suffix in TEXTS:
                yield path


def _recipe_text(recipe: Recipe) -> str:
    head = f"# recipe {recipe.name}, resolved: nothing is left to other files\n"
    return head + written.text(recipe)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def faults(found: dict[str, bytes], limit_mb: float) -> list[str]:
    """Why the files may not be handed to strangers as they are."""
    unsafe = [name for name in found if not SAFE.fullmatch(name)]
    said = [f"{name}: {_SAFE_ONLY}; rename it" for name in unsafe]
    for name, content in found.items():
        said += [f"{name}:{line}: holds a {kind}; take it out" for line, kind in _secrets(content)]
    size = sum(map(len, found.values()))
    if size > limit_mb * 1e6:
        largest = max(found, key=lambda name: len(found[name]))
        said.append(
            f"the submission has {size / 1e6:.1f} MB, and {limit_mb:g} MB is the limit; the "
            f"largest file is {largest} ({len(found[largest]) / 1e6:.1f} MB): publish data on "
            "the hub and name it by revision"
        )
    return said


def _secrets(content: bytes) -> Iterator[tuple[int, str]]:
    """Line and kind of each secret."""
    text = content.decode("utf-8", errors="replace")
    if redact(text) == text:  # most files: a look at each line takes long
        return
    for number, line in enumerate(text.splitlines(), 1):
        if (clean := redact(line)) != line:
            kinds = [one for one in re.findall(r"<([^<>]+)>", clean) if f"<{one}>" not in line]
            yield number, kinds[0] if kinds else "secret"
