"""Runs named by their folders: the recipe is the one that their newest stage was made by."""

import dataclasses
from difflib import get_close_matches
from pathlib import Path

from tools.errors import UserError
from tools.recipe.schema import Recipe
from tools.run.folder import Run
from tools.run.provenance import MANIFEST, Manifest


def runs_of(named: dict[str, str], runs: Path) -> dict[str, Run]:
    """The runs of folders.

    Args:
        named: by a variable of the Makefile (``RUN``), the folder it gives; an empty one is left
            out.
        runs: where run folders live; only names near a misspelt one are looked for there.

    Raises:
        UserError: with every folder that is none of a run, or whose recipe cannot be read.
    """
    found: dict[str, Run] = {}
    faults: list[str] = []
    for variable, text in named.items():
        if not text:
            continue
        try:
            found[variable] = _run(f"{variable}={text}", Path(text), runs)
        except UserError as error:
            faults += error.faults
    if faults:
        raise UserError(faults)
    return found


def _run(word: str, folder: Path, runs: Path) -> Run:
    if not folder.is_dir():
        raise UserError(f"{word}: no such folder{_hint(folder, runs)}")
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{word}: no {MANIFEST} there, so it is no run folder; give one, runs/cpu")
    folder = folder.resolve() if folder.name in ("", "..") else folder  # its name is the run's
    return Run(
        dataclasses.replace(_recipe(word, Manifest(folder)), name=folder.name), folder.parent
    )


def _hint(folder: Path, runs: Path) -> str:
    """The run that was meant: one beside it or below ``runs`` whose name is near."""
    known = {p.parent for there in (folder.parent, runs) for p in there.glob(f"*/{MANIFEST}")}
    names = {path.name: path.as_posix() for path in sorted(known)}
    near = get_close_matches(folder.name, names, n=1)
    return f"; did you mean {names[near[0]]}?" if near else "; give a run folder, as runs/cpu"


def _recipe(word: str, manifest: Manifest) -> Recipe:
    """The recipe of the newest stage."""
    from pydantic import TypeAdapter, ValidationError

    if not manifest.stages:
        raise UserError(f"{word}: nothing was made there yet; first: make day")
    stored = manifest.content(manifest.stages[-1], "recipe")
    try:
        recipe: Recipe = TypeAdapter(Recipe).validate_python(stored)
    except ValidationError as error:
        raise UserError(
            f"{word}: {MANIFEST}: its recipe does not suit this version: "
            f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}; check out the commit "
            "that it names"
            for fault in error.errors()
        ) from None
    return recipe
