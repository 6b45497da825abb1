"""The folder that goes to the hub: the served files, the recipe, the card."""

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tools.errors import UserError
from tools.package import contents, weights
from tools.package.names import slug
from tools.publish import card, licences, metadata
from tools.recipe import written
from tools.recipe.schema import Recipe, Soup
from tools.report.gathered.gather import gather
from tools.report.gathered.source import Source
from tools.run.folder import Run, served

CARD, RECIPE = "README.md", "recipe.yaml"
YOURS = "YOU"  # stands for the owner where TO= names none
_LEGAL = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
_LIMIT_MB = 5.0  # of card and recipe


@dataclasses.dataclass(frozen=True)
class Published:
    """What was written.

    Attributes:
        folder: it.
        place: hub id, its owner ``YOU`` where none was named.
        size: bytes.
        notes: what its author should know.
    """

    folder: Path
    place: str
    size: int
    notes: tuple[str, ...]

    def render(self) -> str:
        """As plain text; the last line is the author's own command."""
        lines = [f"publish: {self.folder}/ ({self.size / 1e6:,.1f} MB)"]
        lines += [f"note: {note}" for note in self.notes]
        lines += ["nothing was sent anywhere; to push it, log in (hf auth login) and call:"]
        return "\n".join([*lines, f"hf upload {self.place} {self.folder} . --repo-type model"])


def publish(run: Run, dist: Path, place: str = "") -> Published:
    """Make ``dist/hub-NAME/``.

    Args:
        run: whose served model it is; its evaluation may be missing.
        dist: where such folders live.
        place: hub id, ``owner/name``; empty: to be filled in by its author.

    Raises:
        UserError: with everything that is wrong: no served model of this recipe, files that
            changed since, a misspelt place, a secret in the recipe, a folder that is there already.
    """
    stage, name = served(run.recipe), place.rpartition("/")[2] or slug(run.recipe.name)
    folder = dist / f"hub-{name}"
    if found := [*_place_faults(place), *_folder_faults(folder), *_run_faults(run, stage)]:
        raise UserError(found)
    place = place or f"{YOURS}/{name}"
    texts = _texts(run, name, place)
    if found := contents.faults({key: one.encode() for key, one in texts.items()}, _LIMIT_MB):
        raise UserError(found)
    _write(folder, texts, _files(run, stage))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Published(folder, place, size, tuple(_notes(run, texts)))


def _place_faults(place: str) -> Iterator[str]:
    if place and not weights.HUB_ID.fullmatch(place):
        yield f"TO={place}: no hub id; give it as owner/name, or leave it out"


def _folder_faults(folder: Path) -> Iterator[str]:
    if folder.exists():
        yield f"{folder}: there already, and kept; move or remove it, or give another name by TO="


def _run_faults(run: Run, stage: str) -> Iterator[str]:
    if not run.done(stage):
        there = "of another recipe" if run.output(stage).is_dir() else "missing"
        yield f"{run.output(stage)}: {there}; a finished model is published: make {stage}"
        return
    yield from weights.changed(run, stage)


def _texts(run: Run, name: str, place: str) -> dict[str, str]:
    parts: dict[str, Any] = gather(Source(run))["parts"]
    return {CARD: card.text(run, name, place, parts), RECIPE: _recipe_text(run.recipe)}


def _recipe_text(recipe: Recipe) -> str:
    """The recipe without the folders and the database of its author's machine."""
    sources = {
        name: dataclasses.replace(one, path=_last(one.path))
        for name, one in recipe.data.sources.items()
    }
    plain = dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, sources=sources),
        model=dataclasses.replace(recipe.model, path=_last(recipe.model.path)),
        sweep=recipe.sweep and dataclasses.replace(recipe.sweep, database=""),
        soup=recipe.soup and _named(recipe.soup),
    )
    head = f"# recipe {recipe.name}, resolved: nothing is left to other files\n"
    return head + written.text(plain)


def _named(soup: Soup) -> Soup:
    folders = {name: _last(folder) for name, folder in soup.adapters.items()}
    return dataclasses.replace(soup, adapters=folders)


def _last(path: str) -> str:
    """A path as it is, of one that begins at the root or leads out of here the last name."""
    pure = PurePosixPath(path)
    return pure.name if pure.is_absolute() or ".." in pure.parts else path


def _files(run: Run, stage: str) -> dict[str, Path]:
    """What is served, by its name, and the base's own licence texts."""
    record = run.record(stage)
    assert record
    found = {
        name: run.output(stage) / name
        for name in record["outputs"]
        if PurePosixPath(name).suffix in weights.SERVED and "/" not in name
    }
    base = run.recipe.model.path
    if run.recipe.model.source == "local":
        for pattern in _LEGAL:
            found |= {path.name: path for path in Path(base).glob(pattern) if path.is_file()}
    return found


def _write(folder: Path, texts: dict[str, str], files: dict[str, Path]) -> None:
    """Write the folder whole or not at all; weights are linked where the disk can."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, path in files.items():
        try:
            os.link(path, partial / name)
        except OSError:  # another disk
            shutil.copy(path, partial / name)
    for name, content in texts.items():
        (partial / name).unlink(missing_ok=True)  # never through a link into the run
        (partial / name).write_text(content, encoding="utf-8")
    partial.rename(folder)


def _notes(run: Run, texts: dict[str, str]) -> Iterator[str]:
    yield from licences.limits(run.recipe)
    if "No scores yet" in texts[CARD]:
        yield "no scores yet, and the card says so; evaluate first: make eval"
    if not metadata.base_model(run.recipe):
        yield f"the base {run.recipe.model.id} is no model of the hub, so the card links none"
    if untold := metadata.untold(run.recipe):
        yield f"nothing tells the language of {', '.join(untold)}: add it to the card's head"
    if licences.hub_id(run.recipe.model.licence) == "other":
        yield (
            f"the hub has no identifier of {run.recipe.model.licence}: the card says other, and "
            "the licence's text belongs into the folder as LICENSE"
        )
    if any(_last(one.path) != one.path for one in run.recipe.data.sources.values()):
        yield "paths outside this folder are cut to their last name in recipe.yaml"
