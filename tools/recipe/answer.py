"""What a sweep found, for every verb after it: the recipe with the values of the winner.

The answer is a file of the run folder. It names the recipe that was asked about, and holds for no
other: an edit of what trials depend on has the sweep made anew.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.files import digest, read_json
from tools.recipe.load import Loaded
from tools.recipe.schema import Recipe
from tools.recipe.written import settled

FILE = Path("sweep", "answer.json")  # in the run folder
Compose = Callable[[dict[str, Any]], Loaded]  # the recipe with values by full key


def question(recipe: Recipe) -> str:
    """A hash of what a sweep's trials depend on, as the recipe has it."""
    tree = settled(recipe)
    asked = {name: tree[name] for name in ("sweep", "model", "data", "train")}
    # A sweep also leaves adapters to a soup, which trials alone can make.
    if recipe.soup and recipe.soup.trials:
        asked["trials_for_soup"] = recipe.soup.trials
    return digest(asked)


def applied(loaded: Loaded, runs: Path, compose: Compose) -> Loaded:
    """The recipe with what its sweep found; as it is, where none did.

    Args:
        loaded: the recipe as written.
        runs: where run folders live.
        compose: loads the recipe with values over its own.
    """
    sweep = loaded.recipe.sweep
    found = read_json(runs / loaded.recipe.name / FILE) if sweep else None
    if sweep is None or sweep.work or not isinstance(found, dict):
        return loaded
    if found.get("question") != question(loaded.recipe):
        return loaded
    values: dict[str, Any] = found["values"]
    made = compose(values)
    told = dataclasses.replace(sweep, chosen=values, work=found["work"])
    origins = made.origins | dict.fromkeys(values, f"sweep, trial {found['trial']}")
    recipe = dataclasses.replace(made.recipe, sweep=told)
    return Loaded(recipe, origins, made.files)
