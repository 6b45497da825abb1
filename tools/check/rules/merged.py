"""Can the adapters that are to be merged together be weighed against each other?"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tools.base_model.folder import at_hand
from tools.check.rules.base import Facts, Faults, fail
from tools.check.rules.unpacked import CHANGE_BASE
from tools.files import read_json
from tools.recipe.schema import Model, Recipe

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
#: Of an adapter's settings those that make it more than matrices A and B, as PEFT 0.21 weighs them.
MORE = (
    *("use_dora", "use_qalora", "use_bdlora", "kasa_config", "arrow_config", "monteclora_config"),
    *("velora_config", "alora_invocation_tokens", "modules_to_save", "trainable_token_indices"),
    *("target_parameters", "layer_replication", "lora_bias", "ensure_weight_tying"),
)
#: Where a recipe says the same of its own adapter.
_OURS = {
    "peft_use_dora": "DoRA",
    "lora_modules_to_save": "modules that are trained whole",
    "peft_trainable_token_indices": "trained tokens",
    "peft_ensure_weight_tying": "tied adapters",
}
DEFAULT_RANK = 8  # PEFT's


def adapters(recipe: Recipe, facts: Facts) -> Faults:
    """Adapters of one base, each with its weight, and of one rank where the way wants that."""
    wanted, key = recipe.merge.adapters, "merge.adapters"
    if not wanted:
        return
    if not recipe.train.get("adapter"):
        said = f"{key}: all weights are trained (train.adapter), and no adapter can be weighed"
        yield fail(key, said, "leave merge.adapters out, or train an adapter")
        return
    ours = [name for name, one in wanted.items() if not one.path]
    if len(ours) != 1:
        said = f"{key}: {len(ours)} of its entries have no path, which means the run's own adapter"
        yield fail(key, said, "leave path out of one entry, as in `own: {weight: 1}`")
    yield from _numbers(recipe)
    yield from own(recipe, key)
    there = {}
    for name, one in wanted.items():
        if one.path:
            faults = list(other(f"{key}.{name}.path", one.path, recipe.model))
            yield from faults
            if not faults:
                there[name] = read_json(Path(one.path) / CONFIG)
    yield from _ranks(recipe, there)


def _numbers(recipe: Recipe) -> Faults:
    merge = recipe.merge
    for name, one in merge.adapters.items():
        if not math.isfinite(one.weight) or one.weight == 0:
            key = f"merge.adapters.{name}.weight"
            said = f"{key} is {one.weight:g}, which adds nothing that could be used"
            yield fail(key, said, "give a number, 1 for the adapter as it was trained")
    if not 0 < merge.density <= 1:
        said = f"merge.density is {merge.density:g}: it is the share of numbers that is kept"
        yield fail("merge.density", said, "set it to more than 0, at most 1")
    if merge.seed < 0:
        yield fail("merge.seed", f"merge.seed is {merge.seed}", "set it to at least 0")


def own(recipe: Recipe, key: str) -> Faults:
    """What makes the run's own adapter more than matrices that can be added.

    Args:
        recipe: whose adapter.
        key: of what would weigh it against others.
    """
    for name, what in _OURS.items():
        if recipe.train.get(name):
            said = f"train.{name} with {key}: {what} cannot be weighed against others"
            yield fail(f"train.{name}", said, "leave it out, or merge this adapter alone")


def other(key: str, path: str, model: Model) -> Faults:
    """An adapter of a folder: it is there, of a kind that can be weighed, and of this base.

    Args:
        key: of the folder, in the recipe.
        path: of the folder.
        model: that the recipe trains.
    """
    folder, entry = Path(path), key.removesuffix(".path")
    lost = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    config = read_json(folder / CONFIG)
    if lost or not isinstance(config, dict):
        said = f"{key}: {path or 'empty'}: holds no {lost[0] if lost else f'readable {CONFIG}'}"
        yield fail(key, said, "give a folder of PEFT's, as runs/NAME/adapter")
        return
    if what := unweighable(config):
        said = f"{entry}: {path} is an adapter with {what}, which cannot be weighed against others"
        yield fail(entry, said, "merge it alone, or train it without")
    named = str(config.get("base_model_name_or_path") or "")
    if named and not _same_base(model, named):
        said = f"{entry}: {path} was trained on {named}, not on {model.id}"
        remedy = "take adapters of one base; where it is the same one elsewhere, FORCE=1"
        yield fail(entry, said, remedy)


def unweighable(config: dict[str, Any]) -> str:
    """What makes an adapter more than matrices that can be added, by its settings; else empty."""
    kind = str(config.get("peft_type"))
    if kind != "LORA":
        return f"peft_type {kind}"
    start = str(config.get("init_lora_weights") or "")
    if start.startswith(CHANGE_BASE):
        return f"init_lora_weights {start}"
    if (biases := config.get("bias") or "none") != "none":
        return f"bias {biases}"
    return next((name for name in MORE if config.get(name)), "")


def _same_base(model: Model, named: str) -> bool:
    """Whether a base's name or folder is this model's, by its last part or as the hub's cache."""
    here = at_hand(model)
    ours = {model.id, model.path, str(here) if here else ""} - {""}
    if named in ours or {_identity(one) for one in ours} & {_identity(named)}:
        return True
    return Path(named).name in {Path(one).name for one in ours}


def _identity(named: str) -> str:
    """``owner/name`` of a folder in the hub's cache; else the name itself."""
    found = [part for part in Path(named).parts if part.startswith("models--")]
    return found[-1].removeprefix("models--").replace("--", "/") if found else named


def _ranks(recipe: Recipe, there: dict[str, dict[str, Any]]) -> Faults:
    """All ways but ``cat`` add matrix to matrix, so these are of one shape."""
    how, train = recipe.merge.combine, recipe.train
    if not there:
        return
    patterns = {isinstance(config.get("target_modules"), str) for config in there.values()}
    if len({isinstance(train.get("lora_target_modules"), str), *patterns}) > 1:
        said = "merge.adapters: layers of one are a pattern, of another a list"
        yield fail("merge.adapters", said, "name the layers in the same way in all of them")
    if how == "cat":
        return
    own = train.get("lora_r") or DEFAULT_RANK
    for name, config in there.items():
        if (ranks := ranks_of(config)) != {own}:
            key = f"merge.adapters.{name}"
            said = f"{key} has rank {_listed(ranks)}, the run's own {own}: merge.combine {how} adds"
            said += " matrices of one shape"
            yield fail(key, said, "set merge.combine=cat, or train with the same train.lora_r")


def ranks_of(config: dict[str, Any]) -> set[Any]:
    """The ranks of an adapter's layers, by its settings."""
    return {config.get("r"), *(config.get("rank_pattern") or {}).values()}


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted(str(value) for value in values))
