"""One model a recipe: what was said of an earlier one does not count for another."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools.recipe.faults import nearest

LAYERS = "models"  # the folder of layers that are about a model, with all that they say


@dataclass(frozen=True)
class Part:
    """What one file says.

    Attributes:
        path: of the file.
        values: as plain values.
        lines: ``file:line`` by full key.
        includers: the files that include it.
    """

    path: Path
    values: dict[str, Any]
    lines: dict[str, str]
    includers: frozenset[Path]


def one_model(parts: list[Part]) -> tuple[list[Part], str]:
    """The parts of a recipe without what they say of models that a later part replaces.

    A part with another ``model.id`` than the one so far begins a new model: the ``model`` sections
    before it go, and of the layers in ``models/`` all else, too, with what only they include.

    Returns:
        The parts that are left, and which model was replaced by which, for a message.
    """
    named = [(at, name) for at, part in enumerate(parts) if (name := _id(part.values))]
    others = [(at, name) for at, name in named if name != named[-1][1]]
    if not others:
        return parts, ""
    (last, old), new = others[-1], named[-1][1]
    start = next(at for at, _ in named if at > last)
    layers = {part.path for part in parts[:start] if _is_layer(part)}
    kept = []
    for at, part in enumerate(parts):
        theirs = bool(part.includers) and part.includers <= layers
        if at >= start:
            kept.append(part)
        elif part.path not in layers and not theirs:
            kept.append(_without_model(part))
    return kept, said(new, old, parts[last].lines.get("model.id", str(parts[last].path)))


def said(new: str, old: str, where: str) -> str:
    """Which model was replaced by which."""
    return f"{new} is another model than {old} ({where}), of which nothing counts for it"


def remedy(name: str, missing: Iterable[str], folder: Path) -> str:
    """Where what is missing of a model stands, or how it is written.

    Args:
        name: the model's id.
        missing: keys of its section.
        folder: the recipes.
    """
    known = {
        found[1]: path.stem
        for path in sorted((folder / LAYERS).glob("*.yaml"))
        if (found := re.search(r"^  id: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    }
    if layer := known.get(name):
        return f"compose its layer, defaults: [..., {LAYERS}/{layer}], in place of model.id"
    keys = ", ".join(missing)
    return f"add {keys} (docs/recipes.md, Another model){nearest(name, known)}"


def _id(values: dict[str, Any]) -> str:
    model = values.get("model")
    name = model.get("id") if isinstance(model, dict) else None
    return name if isinstance(name, str) else ""


def _is_layer(part: Part) -> bool:
    return part.path.parent.name == LAYERS and bool(_id(part.values))


def _without_model(part: Part) -> Part:
    values = {key: value for key, value in part.values.items() if key != "model"}
    lines = {
        key: line
        for key, line in part.lines.items()
        if key != "model" and not key.startswith(("model.", "model["))
    }
    return replace(part, values=values, lines=lines)
