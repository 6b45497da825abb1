"""Mixtures of experts: which bases are some, and what of them no stage takes changed."""

import re
from collections.abc import Iterator
from typing import Any

from tools.base_model.folder import config_file
from tools.files import read_json
from tools.recipe.arch import COUNTS
from tools.recipe.schema import Model, Recipe

# What is so of every mixture, told by check, plan, a training that was forced, and the merge.
WHY = (
    "transformers keeps all experts of a layer in one tensor, which merge cannot change (it adds "
    "to layers)"
)
REMEDY = (
    'SET="train.lora_target_linear=false train.lora_target_modules=[q_proj,k_proj,v_proj,o_proj]"'
)
# Names of experts' layers as they were, and of what holds them; PEFT 0.21 reads the former as the
# tensors they have become (peft/utils/transformers_weight_conversion.py), of a shared expert, too.
_WITHIN = {"gate", "w1", "w2", "w3", "gate_proj", "up_proj", "down_proj", "gate_up_proj",
           "input_linear", "output_linear"}  # fmt: skip
_AROUND = {"experts", "mlp", "block_sparse_moe"}
_MEMBERS = {"moe", "mixtral", "8x7b", "8x22b", "olmoe"}


def named_so(name: str) -> bool:
    """Whether a hub id is that of a mixture: ``Mixtral-8x7B``, ``Qwen3-30B-A3B``."""
    words = re.split(r"[/\s._-]+", name.rpartition("/")[2].lower())
    return any(word in _MEMBERS or re.fullmatch(r"a\d+b", word) for word in words)


def has_experts(model: Model) -> bool:
    """Whether the base is a mixture of experts, by its files, else its numbers or its name."""
    if path := config_file(model):
        config = read_json(path)
        return isinstance(config, dict) and any(config.get(name) for name in COUNTS)
    return bool(model.arch and model.arch.experts) or named_so(model.id)


def trained(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What of the recipe would train experts, as a key under ``train`` and why it cannot be."""
    if not recipe.train.get("adapter") or not has_experts(recipe.model):
        return
    for key, value in _wanted(recipe.train):
        said = f"train.{key} {value}" if value else f"train.{key}"
        yield f"train.{key}", f"{said} trains experts of {recipe.model.id}: {WHY}"


def _wanted(train: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that reach experts, each with what of its value does."""
    targets = train.get("lora_target_modules")
    if train.get("lora_target_linear"):
        yield "lora_target_linear", ""
    elif isinstance(targets, str) and _meets(targets):
        yield "lora_target_modules", targets
    if isinstance(targets, list) and (inside := reaching(targets)):
        yield "lora_target_modules", ", ".join(inside)
    if inside := _ending(train.get("lora_modules_to_save") or [], _AROUND):
        yield "lora_modules_to_save", ", ".join(inside)
    if train.get("lora_target_parameters"):
        yield "lora_target_parameters", ""


def reaching(names: list[Any]) -> list[str]:
    """Those of a list of target modules that are experts, or are around them."""
    return _ending(names, _WITHIN | _AROUND)


def _ending(names: list[Any], known: set[str]) -> list[str]:
    return [str(name) for name in names if str(name).rpartition(".")[2] in known]


def _meets(pattern: str) -> bool:
    """Whether a pattern of PEFT's, which is held against whole names, reaches experts."""
    if pattern.lower() == "all-linear":
        return True
    places = [f"model.layers.0.mlp.{at}{name}" for at in ("experts.", "") for name in _WITHIN]
    try:
        return any(re.fullmatch(pattern, place) for place in places)
    except re.error:
        return False
