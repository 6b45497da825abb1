"""``quantize.format: auto``: the format by card, engine, memory and need, and why.

Chosen as a recipe is read, so that nobody behind ever meets ``auto``. Of the formats that the card
serves and whose weights the engine computes with as they are:

1. those made for the need: for latency the fewest bits first, for throughput the finest first;
2. ``none``, which changes nothing;
3. the others, which save memory only, the finest first.

The first that fits the card with ``serve.max_batch`` clients is taken, else the smallest.
"""

from dataclasses import replace
from pathlib import Path
from typing import cast

from tools.errors import UserError
from tools.recipe import footprint
from tools.recipe.arch import read
from tools.recipe.formats import FORMATS, SERVED, made_of, runs
from tools.recipe.schema import Architecture, Recipe, Served

AUTO = "auto"
FULL = 0.92  # share of a card's memory that a plan calls a fit


def settled(recipe: Recipe) -> Recipe:
    """The recipe with a format in place of ``auto``, and the reason in ``quantize.chosen``.

    A reason that another choice left behind, in a file that was written out and changed, goes.
    """
    wanted = recipe.quantize
    if wanted.format == AUTO:
        name, why = choose(recipe)
        taken = replace(wanted, format=cast("Served", name), chosen=f"{name}: {why}")
        return replace(recipe, quantize=taken)
    if wanted.chosen and not wanted.chosen.startswith(f"{wanted.format}:"):
        return replace(recipe, quantize=replace(wanted, chosen=""))
    return recipe


def choose(recipe: Recipe) -> tuple[str, str]:
    """The format that ``auto`` stands for.

    Args:
        recipe: whose card, engine, model and ``quantize.need`` decide.

    Returns:
        The format, and why it is that one.
    """
    card, engine = recipe.hardware, recipe.serve.engine
    if card.device == "cpu" and "none" in card.quantize_formats:
        return "none", "on a CPU the worker unpacks every format, so none is smaller or faster"
    able = [one for one in ranked(recipe) if not footprint.unpacks(recipe, one)] or ["none"]
    arch = _numbers(recipe)
    need = f"for {recipe.quantize.need} on {card.name} with {engine}"
    if arch is None:
        return able[0], f"{need}; memory was not looked at: model.arch is missing"
    room = FULL * card.memory_gib * 2**30
    fits = [one for one in able if _bytes(recipe, arch, one) <= room]
    name = fits[0] if fits else min(able, key=lambda one: _bytes(recipe, arch, one))
    return name, f"{need}: {_said(recipe, arch, name, able)}"


def ranked(recipe: Recipe) -> list[str]:
    """The formats that the card serves, the best for the need first."""
    card, need = recipe.hardware, recipe.quantize.need
    served = [one for one in SERVED if runs(one, card.device, card.capability)]
    kind = recipe.model.kind
    served = [one for one in served if one in card.quantize_formats and made_of(one, kind)]
    made_for = [one for one in served if FORMATS[one].need == need]
    if need == "latency":
        made_for.sort(key=lambda one: FORMATS[one].bits)
    rest = [one for one in served if one != "none" and FORMATS[one].need is None]
    return made_for + [one for one in served if one == "none"] + rest


def _numbers(recipe: Recipe) -> Architecture | None:
    """The model's, as far as they can be told without a download."""
    model = recipe.model
    if model.source == "local":
        try:
            return read(Path(model.path) / "config.json")
        except (OSError, UserError):
            return model.arch
    return model.arch


def _bytes(recipe: Recipe, arch: Architecture, name: str) -> float:
    return footprint.serving(recipe, arch, name, recipe.serve.max_batch)


def _said(recipe: Recipe, arch: Architecture, name: str, able: list[str]) -> str:
    """What is needed of what there is, and what was too large before."""
    room, clients = recipe.hardware.memory_gib, recipe.serve.max_batch
    needs = _bytes(recipe, arch, name) / 2**30
    said = f"{needs:.1f} of {room:g} GiB with {clients} client{'s' * (clients > 1)}"
    if needs > FULL * room:
        return f"the smallest, {said}: it does not fit; lower serve.max_batch or serve.context"
    if larger := able[: able.index(name)]:
        sizes = (f"{one} {_bytes(recipe, arch, one) / 2**30:.1f}" for one in larger)
        said += f" ({', '.join(sizes)} would not fit)"
    return said
