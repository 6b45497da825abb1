"""The adapters that a recipe has merged together, as one."""

import shutil
from pathlib import Path
from typing import Any

from tools.console import say
from tools.recipe.schema import Recipe
from tools.run.folder import SOUP, Run, Work
from tools.stages.merging import several

_FOLDER = ".together"  # in the stage's work; gone before that gets its name


def own(run: Run) -> Path:
    """Folder of the run's own adapter: what training made, or the soup where that is better."""
    soup = run.output(SOUP)
    won = run.recipe.soup is not None and (soup / "adapter_config.json").is_file()
    return soup if won else run.output("train")


def together(run: Run, base: Path, work: Work) -> Path:
    """Folder of the adapter to merge: the run's own, or one made of it and others.

    Args:
        run: whose training is done.
        base: the base model's folder.
        work: of the merge; its record gets what was put together.

    Raises:
        UserError: an adapter is not there, or another base's.
        StageError: they cannot be weighed against each other.
    """
    wanted, ours = run.recipe.merge, own(run)
    if not wanted.adapters:
        return ours
    parts = [(Path(one.path or ours), one.weight) for one in wanted.adapters.values()]
    listed = ", ".join(f"{one.weight:g} x {name}" for name, one in wanted.adapters.items())
    say(f"merge: {listed}, by {wanted.combine}")
    work.note(adapters=_noted(run.recipe))
    how = several.How(wanted.combine, wanted.density, wanted.seed)
    return several.combine(base, parts, how, work.folder / _FOLDER)


def folders(run: Run) -> list[Path]:
    """Folders of all adapters that are merged."""
    ours = own(run)
    return [Path(one.path or ours) for one in run.recipe.merge.adapters.values()] or [ours]


def clear(work: Work) -> None:
    """Remove what :func:`together` made: it is in the weights now."""
    shutil.rmtree(work.folder / _FOLDER, ignore_errors=True)


def _noted(recipe: Recipe) -> dict[str, Any]:
    return {
        name: {"path": one.path or "its own", "weight": one.weight}
        for name, one in recipe.merge.adapters.items()
    }
