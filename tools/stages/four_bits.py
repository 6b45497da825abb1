"""How merge and quantize put weights into 4 bits: as training had them."""

from pathlib import Path
from typing import Any

from tools.files import read_json
from tools.recipe.schema import Recipe


def double_quant(recipe: Recipe) -> bool:
    """Whether the scales of a 4-bit base are quantized, too: as in training, Axolotl's default."""
    options = recipe.train.get("bnb_config_kwargs") or {}
    return bool(options.get("bnb_4bit_use_double_quant", True))


def trained_dtype(recipe: Recipe) -> Any:
    """Torch's type that Axolotl loads a base's weights in."""
    import torch

    train = recipe.train
    if train.get("bf16") or train.get("bfloat16"):
        return torch.bfloat16
    return torch.float16 if train.get("fp16") or train.get("float16") else torch.float32


def as_trained(recipe: Recipe, base: Path) -> Any:
    """Transformers' ``BitsAndBytesConfig`` that Axolotl 0.21.0 loads a base with for qlora.

    Args:
        recipe: with ``train.adapter`` qlora.
        base: the model's folder.
    """
    from axolotl.utils.nf4 import bnb_4bit_skip_modules
    from transformers import BitsAndBytesConfig

    config = read_json(base / "config.json") or {}
    options: dict[str, Any] = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": trained_dtype(recipe),
        "llm_int8_skip_modules": bnb_4bit_skip_modules(config.get("model_type")),
        **(recipe.train.get("bnb_config_kwargs") or {}),
    }
    return BitsAndBytesConfig(**options)


def packed(net: Any) -> bool:
    """Whether bitsandbytes has put any layer of a loaded model into 4 or 8 bits.

    Transformers has it replace ``nn.Linear`` itself and ``Conv1D``, no subclass: of Falcon, whose
    layers are one, nothing, and says so in a warning only.
    """
    import bitsandbytes as bnb

    kinds = (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)
    return any(isinstance(module, kinds) for module in net.modules())
