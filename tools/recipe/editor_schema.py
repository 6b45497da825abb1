"""The recipe's JSON schemas, for ``load`` and for editors: this module, when run, writes them.

Every recipe's first line names ``recipes/schema.json``, so an editor with yaml-language-server (VS
Code's YAML extension) completes keys, shows what they mean and underlines those that do not exist.
It describes a layer: nothing is required, for another layer may have it. ``make check`` is strict.
"""

import dataclasses
import inspect
import re
from typing import Any

from serve import config as serve_config
from tools.recipe import axolotl_schema, load, schema
from tools.recipe.compose import RECIPES
from tools.recipe.operators import declared as operators

STORED = RECIPES / "schema.json"

# ${section.key}, which stands for a value of any kind, or null, which takes an earlier one away.
_REFERENCE = {"type": ["string", "null"], "pattern": r"\$\{"}
# Of a list no layer takes a part away: it is replaced as a whole.
_REFERENCE_IN_LIST = {**_REFERENCE, "type": "string"}
_NARROWED = {"enum", "const", "pattern", "format"}  # of a text: not any will do
_DEFAULTS = "Recipe files that this one builds on, without .yaml; later ones win, this file last."
_CATALOGUE = "What is known of a named set, for `make check`; only in data/catalogue/."
_TRAIN = "Axolotl's own keys, verbatim."


def shape() -> dict[str, Any]:
    """The JSON schema of a ``Recipe``, Draft 2020-12, as ``load`` holds recipes against it."""
    from pydantic import TypeAdapter

    made: dict[str, Any] = axolotl_schema.close(TypeAdapter(schema.Recipe).json_schema())
    return made


def generate() -> dict[str, Any]:
    """Make the schema (imports Axolotl for what its keys mean: many seconds).

    Returns:
        Draft 7, the version that editors know best.
    """
    made = shape()
    train = _train()
    definitions = {**made.pop("$defs"), **train.pop("$defs"), "Train": train}
    properties = made["properties"]
    del properties["name"]  # it is the file's name
    properties["train"] = {"$ref": "#/$defs/Train"}
    for name, prose in _attributes().items():
        # The recipe itself is the schema's root, not one of its definitions.
        _describe(definitions.get(name, made), prose)
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "oneday recipe",
        **made,
        "$defs": definitions,
    }
    layer: dict[str, Any] = _layer(whole)
    layer["$defs"] |= {"Reference": _REFERENCE, "ReferenceInList": _REFERENCE_IN_LIST}
    # Last: what a file is made of stands in it, no reference can name it.
    layer["properties"]["defaults"] = _defaults()
    layer["properties"]["catalogue"] = {"type": "object", "description": _CATALOGUE}
    return layer


def _defaults() -> dict[str, Any]:
    """The list of files, those that are shipped by name."""
    files = sorted(file.relative_to(RECIPES).with_suffix("") for file in RECIPES.rglob("*.yaml"))
    # rules.yaml is what make check reads, no layer of a recipe.
    names = [file.as_posix() for file in files if file.name != "rules"]
    items = {"anyOf": [{"enum": names}, {"type": ["string", "integer"]}]}  # 4090 needs no quotes
    return {"type": "array", "items": items, "description": _DEFAULTS}


def _train() -> dict[str, Any]:
    """Axolotl's keys, those of its plugins too, without what the run decides."""
    plugins = list(axolotl_schema.plugin_keys())
    train = axolotl_schema.train_schema(plugins)
    prose = _axolotl_prose()
    properties = {
        key: {**part, "description": prose[key]} if key in prose else part
        for key, part in train["properties"].items()
        if key not in axolotl_schema.OWNED
    }
    return {**train, "properties": properties, "description": _TRAIN}


def _axolotl_prose() -> dict[str, str]:
    """What Axolotl's own configuration model says of its keys."""
    from axolotl.utils.schemas.config import AxolotlInputConfig

    found = {}
    for name, field in AxolotlInputConfig.model_fields.items():
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if text := field.description or extra.get("description"):
            found[name] = str(text)
    return found


def _attributes() -> dict[str, dict[str, str]]:
    """By dataclass of a recipe and field, what its docstring says."""
    classes = {
        name: kind
        for module in (schema, serve_config, operators)
        for name, kind in vars(module).items()
        if dataclasses.is_dataclass(kind)
    }
    return {name: docstring(inspect.getdoc(kind) or "") for name, kind in classes.items()}


def docstring(text: str) -> dict[str, str]:
    """The entries under ``Attributes:`` of a Google-style docstring, and the first line as ``""``.

    Args:
        text: as ``inspect.getdoc`` gives it.
    """
    head, _, below = text.partition("Attributes:\n")
    found = {"": head.strip().split("\n\n")[0].replace("\n", " ")}
    for entry in re.split(r"\n(?=    \w)", below.strip("\n")):
        name, colon, said = entry.partition(":")
        if colon:
            found[name.strip()] = " ".join(said.split()).replace("``", "`")
    return found


def _describe(part: dict[str, Any], prose: dict[str, str]) -> None:
    """Put the words to a section and its keys, where there are none yet."""
    for name, said in prose.items():
        target = part["properties"].get(name) if name else part
        if target is not None and said:
            target.setdefault("description", said)


def _layer(part: Any) -> Any:
    """A schema in which nothing is required and a reference may stand for any value."""
    if isinstance(part, list):
        return [_layer(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {key: _word(key, value) for key, value in part.items() if key != "required"}


def _word(key: str, value: Any) -> Any:
    """What stands behind a word of JSON schema, opened where it is the schema of values."""
    if key == "$defs":
        return {name: _layer(part) for name, part in value.items()}
    if key == "properties":
        return {name: _open(_layer(part)) for name, part in value.items()}
    if key == "additionalProperties" and isinstance(value, dict):
        return _open(_layer(value))
    if key == "items" and isinstance(value, dict):
        return _open(_layer(value), "ReferenceInList")
    return _layer(value)


def _open(part: dict[str, Any], reference: str = "Reference") -> dict[str, Any]:
    """A value's schema, a reference allowed; the description stays outside, where editors look."""
    if part.get("type") == "string" and not _NARROWED & part.keys():  # a reference is a text
        return part if reference == "ReferenceInList" else {**part, "type": ["string", "null"]}
    said = {"description": part["description"]} if "description" in part else {}
    plain = {key: value for key, value in part.items() if key != "description"}
    choices = plain["anyOf"] if plain.keys() == {"anyOf"} else [plain]
    return {"anyOf": [*choices, {"$ref": f"#/$defs/{reference}"}], **said}


if __name__ == "__main__":
    axolotl_schema.write(shape(), load.SHAPE)
    axolotl_schema.write(generate(), STORED)
