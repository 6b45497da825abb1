"""Can the adapters of a soup be averaged, and is there anything to choose them by?"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tools.check.rules import merged
from tools.check.rules.base import Facts, Faults, fail
from tools.files import read_json
from tools.recipe.schema import Recipe, Soup

_MEMBERS = "set soup.checkpoints=3, or name folders in soup.adapters"


def members(recipe: Recipe, facts: Facts) -> Faults:
    """Members that are there and fit, and rows by which they are chosen."""
    soup = recipe.soup
    if soup is None:
        return
    if not recipe.train.get("adapter"):
        said = "soup: all weights are trained (train.adapter), and a soup is made of adapters"
        yield fail("soup", said, "leave the section out, or train an adapter")
        return
    if not (soup.checkpoints or soup.trials or soup.adapters):
        yield fail("soup", "soup: names nothing beside the run's own adapter", _MEMBERS)
    yield from _numbers(soup)
    yield from _chosen(recipe)
    yield from merged.own(recipe, "soup")
    yield from _folders(recipe, soup)
    if soup.average == "product" and recipe.merge.adapters and recipe.merge.combine != "cat":
        said = f"merge.combine {recipe.merge.combine} with soup: matrices of one rank are added, "
        said += "and a soup has its members' ranks together"
        yield fail("merge.combine", said, "set merge.combine=cat, or soup.average=factors")


def _numbers(soup: Soup) -> Faults:
    for name, count in (("checkpoints", soup.checkpoints), ("trials", soup.trials)):
        if count < 0:
            said = f"soup.{name} is {count}: it is how many may be taken"
            yield fail(f"soup.{name}", said, "set it to 0 or more")
    if not (math.isfinite(soup.min_gain) and soup.min_gain >= 0):
        said = f"soup.min_gain is {soup.min_gain:g}: a soup that is worse would be merged"
        yield fail("soup.min_gain", said, "set it to 0 or more")


def _chosen(recipe: Recipe) -> Faults:
    """What a soup is chosen by, and where its members come from."""
    soup, train = recipe.soup, recipe.train
    assert soup is not None
    if recipe.data.validation_rows < 1:
        said = "soup: data.validation_rows is 0, and members are chosen by eval_loss on these rows"
        yield fail("data.validation_rows", said, "set data.validation_rows=64")
    strategy = str(train.get("save_strategy") or "steps")
    if soup.checkpoints > 0 and strategy not in ("steps", "epoch"):
        said = f"soup.checkpoints: train.save_strategy {strategy} writes none by steps or epochs"
        yield fail("train.save_strategy", said, "set train.save_strategy=steps")
    if soup.trials > 0 and recipe.sweep is None:
        said = f"soup.trials is {soup.trials}, and the recipe has no sweep"
        yield fail("soup.trials", said, "leave it out, or write a sweep (docs/sweep.md)")


def _folders(recipe: Recipe, soup: Soup) -> Faults:
    for name, folder in soup.adapters.items():
        key = f"soup.adapters.{name}"
        faults = list(merged.other(key, folder, recipe.model))
        yield from faults
        if not faults:
            yield from _alike(key, folder, recipe, soup)


def _alike(key: str, folder: str, recipe: Recipe, soup: Soup) -> Faults:
    """Layers and ranks, where the recipe says those of its own adapter."""
    config = read_json(Path(folder) / merged.CONFIG) or {}
    ours, theirs = recipe.train.get("lora_target_modules"), config.get("target_modules")
    if isinstance(ours, list) and _names(ours) != _names(theirs):
        said = f"{key}: {folder} changes {_said(theirs)}, the run's own {_said(ours)}: a mean over "
        said += "layers that one of them leaves alone would halve the other's change"
        yield fail(key, said, "take adapters of the same layers")
    own = recipe.train.get("lora_r") or merged.DEFAULT_RANK
    if soup.average == "factors" and merged.ranks_of(config) != {own}:
        said = f"{key}: {folder} has rank {config.get('r')}, the run's own {own}: soup.average "
        said += "factors adds matrices of one shape"
        yield fail(key, said, "set soup.average=product, or train with the same train.lora_r")


def _names(targets: Any) -> set[str]:
    return set(targets) if isinstance(targets, list) else {str(targets)}


def _said(targets: Any) -> str:
    listed: Iterable[str] = sorted(_names(targets))
    return ", ".join(listed)
