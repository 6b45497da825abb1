"""A resolved recipe as a file: read back, it is the same recipe."""

import dataclasses
import re
from typing import Any

from tools.recipe.schema import Model, Recipe

# What would begin a reference, with the backslashes before it: they would escape one another.
_REFERENCE = re.compile(r"(\\*)\$\{")
# OmegaConf's own mark of a value that is missing, escaped: it takes one backslash away.
_NOT_MISSING = re.compile(r"\\+\?\?\?")


def tree(recipe: Recipe) -> dict[str, Any]:
    """A resolved recipe as plain values, in the shape of a recipe file."""
    values = dataclasses.asdict(recipe)
    del values["name"]  # the file's name
    return values


# Keys that came after the first runs were made, and the values that change nothing.
_LATER: dict[str, Any] = {"order": "shuffled", "held_out_share": 0.1, "operators": []}
_LATER_OF_SOURCES: dict[str, Any] = {
    "weight": 1.0,
    "difficulty": "",
    "operators": [],
    "files": [],
    "shape": "",
    "columns": {},
    "answer": "",
    "learn": "all",
    "language": "",
    "form": "plain",
}
_LATER_OF_MODEL: dict[str, Any] = {"kind": "causal", "head": "", "words": ""}
_LATER_OF_MERGE: dict[str, Any] = {"adapters": {}, "combine": "cat", "density": 0.5, "seed": 17}
_LATER_OF_ARCH: dict[str, Any] = {
    "experts": 0,
    "experts_used": 0,
    "shared_mlp": 0,
    "encoder": None,
}
_LATER_OF_SERVE: dict[str, Any] = {
    "chat_overflow": "error",
    "body_s": 60.0,
    "name": "",
    "cors": [],
    "capital_letters": True,
}
_LATER_OF_RULE: dict[str, Any] = {"ensemble": []}
_LATER_OF_QUANTIZE: dict[str, Any] = {
    "max_kl": 0.2,
    "min_top1": 0.5,
    "max_score_drop": 0.03,
    "tier": "",
    "keep": False,
    "modifier": "",
    "group_size": 0,
    "smoothing_strength": 0.0,
    "ignore": [],
    "num_calibration_samples": 256,
    "max_seq_length": 2048,
}
_LATER_OF_SWEEP: dict[str, Any] = {"seeds": 1}
# What a format was chosen by: whoever names the same one has made the same model.
_HOW_CHOSEN = ("need", "chosen")


def settled(recipe: Recipe) -> dict[str, Any]:
    """A resolved recipe as plain values, by which stages tell whether they were made of it.

    A newer key that says nothing is left out: a run made before there was the key is still done.
    """
    values = dataclasses.asdict(recipe)
    data = values["data"]
    _drop(data, _LATER)
    _drop(values["model"], _LATER_OF_MODEL)
    _drop(values["merge"], _LATER_OF_MERGE)
    _drop(values["serve"], _LATER_OF_SERVE)
    _drop(values["quantize"], _LATER_OF_QUANTIZE)
    for key in _HOW_CHOSEN:
        del values["quantize"][key]
    if values["model"]["arch"]:
        _drop(values["model"]["arch"], _LATER_OF_ARCH)
    if values["sweep"]:
        _drop(values["sweep"], _LATER_OF_SWEEP)
    for source in data["sources"].values():
        _drop(source, _LATER_OF_SOURCES)
    for rule in values["serve"]["rules"].values():
        _drop(rule, _LATER_OF_RULE)
    return values


def model_values(model: Model) -> dict[str, Any]:
    """What names a base model, for who keeps what is made of it; newer keys as in ``settled``."""
    values = dict(vars(model))
    _drop(values, _LATER_OF_MODEL)
    return values


def _drop(section: dict[str, Any], silent: dict[str, Any]) -> None:
    for key, value in silent.items():
        if section[key] == value:
            del section[key]


def text(recipe: Recipe) -> str:
    """A resolved recipe as YAML, for ``tools.recipe.load`` and no other reader."""
    from omegaconf import OmegaConf

    # Nothing is left to resolve, so whatever looks like a reference is meant as it stands.
    return str(OmegaConf.to_yaml(_escaped(tree(recipe))))


def _escaped(value: Any) -> Any:
    """The values, their texts written so that OmegaConf gives them back."""
    if isinstance(value, dict):
        return {key: _escaped(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    if isinstance(value, str) and _NOT_MISSING.fullmatch(value):
        return f"\\{value}"
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: rf"{2 * found[1]}\${{", value)
    return value
