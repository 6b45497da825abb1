"""Load a recipe: compose its files, apply overrides, hold it against its schema."""

import copy
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.recipe import auto, axolotl_schema, faults, kinds, models
from tools.recipe.axes import sweep_faults
from tools.recipe.compose import RECIPES, Composition, leaves
from tools.recipe.faults import nearest
from tools.recipe.fill import fill
from tools.recipe.operators.faults import operator_faults
from tools.recipe.redact import redact
from tools.recipe.run_entries import entry_faults
from tools.recipe.schema import Recipe
from tools.recipe.serving import serve_faults
from tools.recipe.yaml_map import KeyPath, full_key

SHAPE = Path(__file__).parent / "schemas" / "recipe.json"  # editor_schema writes it


@dataclass(frozen=True)
class Loaded:
    """A valid recipe and its provenance.

    Attributes:
        recipe: the resolved recipe, named after its file.
        origins: by full key of a value, the ``file:line`` that set it, or ``--set``. Values that no
            file sets (defaults of ``tools.recipe.schema``) are absent.
        files: the files it was composed of, in order of merging.
    """

    recipe: Recipe
    origins: dict[str, str]
    files: list[Path]


def load(path: Path, overrides: Sequence[str] = (), layers: Sequence[str] = ()) -> Loaded:
    """Read a recipe.

    Args:
        path: the recipe's file.
        overrides: ``key=value`` sets, ``~key`` removes; one string may hold several, parted by
            spaces.
        layers: names of files that are laid over the recipe, before the overrides.

    Raises:
        UserError: with every fault of every file and override.
    """
    composed = Composition(path, layers)
    for text in overrides:
        composed.override(text)
    tree = _of_the_kind(composed, composed.resolve())
    found = [*composed.faults, *_faults(composed, tree, path)]
    if found:
        # A broken file may be named twice; a value that is quoted may be a secret.
        raise UserError(redact(text) for text in dict.fromkeys(found))
    recipe: Recipe = auto.settled(fill(Recipe, {**tree, "name": path.stem}))
    kept = {full_key(leaf): composed.origin(leaf) for leaf, _ in leaves(tree)}
    if recipe.quantize.chosen:
        kept["quantize.format"] = f"{kept['quantize.format']}: auto"
    return Loaded(recipe, kept, composed.files)


#: Layers about no model: what they say of ``train`` is said to whoever trains.
_FOR_ALL = ("base.yaml", "hardware")


def _of_the_kind(composed: Composition, tree: dict[str, Any]) -> dict[str, Any]:
    """The tree without what layers for all models tell a trainer that this one's does not know.

    What the recipe itself tells it stays, and is refused by ``make check``.
    """
    model, train = tree.get("model"), tree.get("train")
    name = model.get("kind") if isinstance(model, dict) else None
    kind = next((kind for kind in kinds.KINDS.values() if kind.name == name), None)
    known = kind.train_keys if kind else None
    if known is None or not isinstance(train, dict):
        return tree

    def stays(key: str) -> bool:
        file = Path(composed.origin(("train", key)).rpartition(":")[0])
        return key in known or not {file.name, file.parent.name}.intersection(_FOR_ALL)

    return {**tree, "train": {key: value for key, value in train.items() if stays(key)}}


@functools.cache
def _shape() -> dict[str, Any]:
    """The JSON schema of a ``Recipe``; only to be read."""
    shape: dict[str, Any] = json.loads(SHAPE.read_text(encoding="utf-8"))
    return shape


def _faults(composed: Composition, tree: dict[str, Any], file: Path) -> list[str]:
    """One line a fault, ``file:line: key: what is wrong``, in the order of the lines."""
    train = tree.get("train")
    train = train if isinstance(train, dict) else {}
    found = faults.find(_without_owned(tree, train), _schema(train))
    found |= {("train", key): (why, False) for key, why in _owned(train).items()}
    found |= dict(_dropped(train))
    found |= _plugin_faults(train)
    found |= serve_faults(tree.get("serve"), [path for path in found if path[:1] == ("serve",)])
    found |= entry_faults(tree.get("eval"))
    found |= operator_faults(tree.get("data"))
    of_sweep = sweep_faults(tree, _schema(train), [composed.root, file.parent])
    found |= {at: why for at, why in of_sweep.items() if at not in found}
    found = _of_another_model(composed, tree, found)
    lines = []
    for path, (text, missing) in _together(found).items():
        # Told already; or the key may well stand in the file that could not be read.
        if path in composed.unresolved or (missing and composed.incomplete):
            continue
        where = composed.origin(path[:-1] if missing else path)
        lines.append((where, f"{full_key(path)}: {text}" if path else text))
    return [f"{where}: {text}" for where, text in sorted(lines, key=_by_line)]


def _of_another_model(
    composed: Composition, tree: dict[str, Any], found: dict[KeyPath, tuple[str, bool]]
) -> dict[KeyPath, tuple[str, bool]]:
    """What is missing of a model that replaced another: one fault, at its id."""
    model = tree.get("model")
    missing = [path for path, (_, absent) in found.items() if absent and path[0] == "model"]
    if not composed.replaced or not missing or not isinstance(model, dict):
        return found
    keys = [str(path[-1]) for path in missing]
    how = models.remedy(str(model.get("id")), keys, RECIPES)
    rest = {path: fault for path, fault in found.items() if path not in missing}
    return {("model", "id"): (f"{composed.replaced}; {how}", False), **rest}


def _together(found: dict[KeyPath, tuple[str, bool]]) -> dict[KeyPath, tuple[str, bool]]:
    """Several sections that are missing have one cause, so they are one fault."""
    absent = [path for path, (_, missing) in found.items() if missing and len(path) == 1]
    if len(absent) < 2:
        return found
    names = ", ".join(str(path[0]) for path in absent)
    said = f"no {names}; begin the recipe with, say, `defaults: [cpu]`"
    return {(): (said, True)} | {path: found[path] for path in found if path not in absent}


def _by_line(line: tuple[str, str]) -> tuple[str, int, str]:
    file, _, number = line[0].rpartition(":")
    return (file, int(number), line[1]) if number.isdigit() else (line[0], 0, line[1])


def _schema(train: dict[str, Any]) -> dict[str, Any]:
    """The schema of a whole recipe file: our dataclasses with Axolotl's keys under ``train``."""
    plugins = [name for name in _plugins(train) if isinstance(name, str)]
    axolotl = axolotl_schema.train_schema(plugins)
    schema = copy.copy(_shape())
    schema["properties"] = dict(schema["properties"])
    # Nobody is asked whether such a key was meant: it would be refused in the next breath.
    axolotl["properties"] = {
        key: part for key, part in axolotl["properties"].items() if key not in axolotl_schema.OWNED
    }
    del schema["properties"]["name"]  # it is the file's name
    schema["properties"]["defaults"] = {"type": "array"}  # for who misspells it
    schema["$defs"] = schema["$defs"] | axolotl.pop("$defs")
    schema["properties"]["train"] = axolotl
    return schema


def _plugins(train: dict[str, Any]) -> list[Any]:
    plugins = train.get("plugins")
    return plugins if isinstance(plugins, list) else []


def _without_owned(tree: dict[str, Any], train: dict[str, Any]) -> dict[str, Any]:
    if not train:
        return tree
    kept = {key: value for key, value in train.items() if key not in axolotl_schema.OWNED}
    return {**tree, "train": kept}


def _owned(train: dict[str, Any]) -> dict[str, str]:
    owned = axolotl_schema.OWNED
    found = {key: f"not for a recipe: {owned[key]}" for key in train if key in owned}
    return found | dict(_nearly_owned(train))


def _nearly_owned(train: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Misspelt keys that are nearest to one the run decides: told what to set instead at once."""
    told = axolotl_schema.OWNED.keys() | axolotl_schema.DROPPED.keys()
    names = [name for name in _plugins(train) if isinstance(name, str)]
    known = axolotl_schema.train_schema(names)["properties"]
    for key in train.keys() - told - known.keys():
        for name, why in axolotl_schema.OWNED.items():
            if f"?{name}?" in nearest(str(key), known, "?"):
                yield key, f"unknown key; {name} is not for a recipe: {why}"


def _dropped(train: dict[str, Any]) -> Iterator[tuple[KeyPath, tuple[str, bool]]]:
    """Keys and values of older versions of Axolotl; said in place of that they are unknown."""
    for key, remedy in axolotl_schema.DROPPED.items():
        above, _, name = key.rpartition(".")
        section = train.get(above) if above else train
        if isinstance(section, dict) and name in section:
            yield ("train", *key.split(".")), (f"no key any more: {remedy}", False)
    for (key, value), remedy in axolotl_schema.DROPPED_VALUES.items():
        if train.get(key) == value:
            yield ("train", key), (f"{value} no more: {remedy}", False)


def _plugin_faults(train: dict[str, Any]) -> dict[KeyPath, tuple[str, bool]]:
    """Plugins Axolotl does not ship under its own name, and keys whose plugin is not listed."""
    shipped, listed = axolotl_schema.plugin_keys(), _plugins(train)
    unknown: dict[KeyPath, tuple[str, bool]] = {
        ("train", "plugins", index): (
            f"Axolotl has no plugin {name}{nearest(name, shipped)}",
            False,
        )
        for index, name in enumerate(listed)
        if isinstance(name, str) and name.startswith("axolotl.") and name not in shipped
    }
    unlisted: dict[KeyPath, tuple[str, bool]] = {
        ("train", key): (f"unknown key without its plugin; add {plugin} to train.plugins", False)
        for plugin, keys in shipped.items()
        for key in keys & train.keys()
        if plugin not in listed
    }
    return unknown | unlisted
