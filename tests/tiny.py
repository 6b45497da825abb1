"""The smallest recipe that the tools take, and the smallest model with an adapter."""

import dataclasses
from pathlib import Path
from typing import Any

from serve.config import ServeConfig
from tools.recipe.schema import Budget, Data, Eval, Hardware, Merge, Model, Quantize, Recipe, Source
from tools.run.folder import Run

BOS, EOS, PAD = "", "<|im_end|>", "<|endoftext|>"  # of the byte-level tokenizer


def maker(path: str, rows: int | None = 30) -> Source:
    """A source that one of our makers fills."""
    return Source("generator", path, "CC0-1.0", "program", rows)


def jsonl(path: Path, **fields: Any) -> Source:
    """A source of local rows."""
    return Source("jsonl", str(path), "MIT", "human", **fields)


def recipe(**values: Any) -> Recipe:
    """A recipe for the CPU; ``merge__method="plain"`` changes one value."""
    made = Recipe(
        Budget(24, 30, 15),
        Hardware("cpu", "none", "cpu", 8, "", 0.1, ["none", "nf4", "int8"]),
        Model("own/tiny", "local", "Llama 2", "MIT", False, 1024, EOS, PAD),
        Data({"counting": maker("counting")}, 1, 3, 6, 5, 100),
        {"adapter": "lora", "learning_rate": 1e-3},
        Merge("plain", 1e-3),
        Quantize("nf4", 1.3, 4),
        ServeConfig(),
        Eval("tier", {"tier": ["oneday"]}, 4, 2),
        "tiny",
    )
    for path, value in values.items():
        made = changed(made, path.replace("__", "."), value)
    return made


def changed(tree: Any, path: str, value: Any) -> Any:
    """A copy of a dataclass with one value, under a dotted path, replaced."""
    key, _, rest = path.partition(".")
    return dataclasses.replace(
        tree, **{key: changed(getattr(tree, key), rest, value) if rest else value}
    )


def make_run(root: Path, **values: Any) -> Run:
    """A run of that recipe, its folder there as it is while a verb holds the lock."""
    run = Run(recipe(**values), root)
    run.path.mkdir(parents=True, exist_ok=True)
    return run


def save_adapter(base: Path, folder: Path, seed: int = 0) -> Path:
    """A LoRA adapter whose B matrices are drawn, as if it had been trained."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder
