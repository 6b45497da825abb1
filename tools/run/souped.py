"""What stages have to do with a soup: only in a recipe that has one.

Runs that were made before there were soups are still done: nothing of this is in their inputs.
"""

from typing import Any

from tools.recipe.schema import Recipe
from tools.run.contents import folder_files

SWEEP, SOUP = "sweep", "soup"
MEMBERS = "members"  # in a sweep's output: adapters of its trials, a folder each


def upstream(recipe: Recipe, name: str) -> tuple[str, ...]:
    """Stages that a stage reads beside those that it always does."""
    soup = recipe.soup
    if soup and name == "merge":
        return (SOUP,)
    return (SWEEP,) if soup and soup.trials and name == SOUP else ()


def inputs(recipe: Recipe, name: str) -> dict[str, Any]:
    """What of a stage's output depends on the soup: adapters that it leaves, or is made of."""
    soup = recipe.soup
    if soup is None:
        return {}
    if name == SOUP:
        return {"files": folder_files(soup.adapters)}
    kept = {"train": soup.checkpoints, SWEEP: soup.trials}.get(name, 0)
    return {"kept_for_soup": kept} if kept else {}
