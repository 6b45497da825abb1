"""Several cards, or several processes on a CPU: what shares the training out, and can it?"""

import shutil
from pathlib import Path

from tools.check.rules.base import Facts, Faults, fail, warn
from tools.check.rules.card import installed
from tools.recipe.schema import Recipe

_FULL = "FULL_STATE_DICT"  # transformers' default


def sharded(recipe: Recipe, facts: Facts) -> Faults:
    """FSDP has several to share the weights out among, and its checkpoints hold an adapter."""
    options = recipe.train.get("fsdp_config") or {}
    if options and recipe.hardware.gpus == 1:
        said = "train.fsdp_config with one card: FSDP shares the weights out among several"
        yield fail("train.fsdp_config", said, "set hardware.gpus, or --set '~train.fsdp_config'")
    for name in ("state_dict_type", "final_state_dict_type"):
        if (kind := options.get(name) or _FULL) != _FULL:
            key = f"train.fsdp_config.{name}"
            said = f"{key} {kind}: no adapter would be in a checkpoint, only each card's share"
            yield fail(key, said, f"set {key}={_FULL}, or leave it out")


def deepspeed(recipe: Recipe, facts: Facts) -> Faults:
    """DeepSpeed and its file are there, where the training would run."""
    named = recipe.train.get("deepspeed")
    if not named:
        return
    # Without a card this machine only looks at the recipe: another will run it.
    here = recipe.hardware.device == "cpu" or shutil.which("nvidia-smi")
    tell, key = fail if here else warn, "train.deepspeed"
    if not installed("deepspeed"):
        remedy = "make gpu installs it; without the key torch's own DDP trains on all cards"
        yield tell(key, "train.deepspeed needs deepspeed, which is not installed", remedy)
    if isinstance(named, str) and not Path(named).is_file():
        remedy = "recipes/deepspeed/ has zero2.json and zero3.json"
        yield tell(key, f"train.deepspeed: {named}: no such file", remedy)
