"""What a card can do: number formats, attention, kernels, served formats, engines."""

from typing import Any

from tools.check.rules.base import Facts, Faults, capability, fail
from tools.recipe.schema import Hardware, Recipe

_AMPERE, _ADA, _HOPPER = (8, 0), (8, 9), (9, 0)  # compute capabilities
# Axolotl's older switches, and what they mean (axolotl.utils.schemas.enums 0.19.0).
_SWITCHES = {
    "xformers_attention": "xformers",
    "sage_attention": "sage",
    "flex_attention": "flex_attention",
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}


def attention(train: dict[str, Any]) -> str:
    """The attention that Axolotl will use, empty when the recipe leaves it open."""
    switched = [name for key, name in _SWITCHES.items() if train.get(key)]
    return train.get("attn_implementation") or next(iter(switched), "")


def _able(card: Hardware, least: tuple[int, int]) -> bool:
    return card.device == "cuda" and capability(card.capability) >= least


def quantize_format(recipe: Recipe, facts: Facts) -> Faults:
    """The card runs the served format."""
    card, wanted = recipe.hardware, recipe.quantize.format
    if wanted not in card.quantize_formats:
        why = " (fp8 needs compute capability 8.9)" if wanted == "fp8" else ""
        said = f"quantize.format {wanted} does not run on {card.name}{why}"
        remedy = f"set quantize.format to one of {', '.join(card.quantize_formats)}"
        yield fail("quantize.format", said, remedy)


def bf16(recipe: Recipe, facts: Facts) -> Faults:
    """The card has the number formats that training asks for, and only one is asked for."""
    card, train = recipe.hardware, recipe.train
    for key, least in {"bf16": _AMPERE, "bfloat16": _AMPERE, "tf32": _AMPERE, "fp8": _ADA}.items():
        # Not "auto", which has Axolotl look at the card by itself.
        if train.get(key) is True and not _able(card, least):
            said = f"train.{key} is true, {card.name} has no {key} of its own"
            yield fail(f"train.{key}", said, f"set train.{key}=false")
    if train.get("bf16") is True and train.get("fp16") is True:
        said = "train.bf16 and train.fp16 are both true, one number format trains"
        yield fail("train.fp16", said, "set train.fp16=false, or train.bf16=false")


# What a kind of attention needs at the least: FlashAttention's own README.
_NEEDS = {
    "flash_attention_2": (_AMPERE, "an Ampere card"),
    "flash_attention_3": (_HOPPER, "a Hopper card"),
    "flash_attention_4": (_HOPPER, "a Hopper card"),
    "xformers": ((1, 0), "a CUDA card"),
    "sage": (_AMPERE, "an Ampere card"),
    "fp8": (_HOPPER, "a Hopper card"),
}


def attention_kind(recipe: Recipe, facts: Facts) -> Faults:
    """The card runs the attention."""
    name = attention(recipe.train)
    least, words = _NEEDS.get(name, ((0, 0), ""))
    if words and not _able(recipe.hardware, least):
        said = f"train.attn_implementation {name} needs {words}, {recipe.hardware.name} is none"
        best = "flash_attention_2" if _able(recipe.hardware, _AMPERE) else "sdpa"
        yield fail("train.attn_implementation", said, f"set train.attn_implementation={best}")


_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")


def kernels(recipe: Recipe, facts: Facts) -> Faults:
    """Axolotl's LoRA kernels meet a GPU, and weights they can read."""
    train = recipe.train
    for key in [key for key in _KERNELS if train.get(key)]:
        if recipe.hardware.device == "cpu":
            said = f"train.{key} is a Triton kernel, {recipe.hardware.name} is no GPU"
            yield fail(f"train.{key}", said, f"set train.{key}=false")
        # bitsandbytes leaves the embedding whole, and Axolotl refuses only the other three.
        elif train.get("load_in_8bit") and key != "lora_embedding_kernel":
            said = f"train.{key} cannot read 8-bit weights (train.load_in_8bit)"
            yield fail(f"train.{key}", said, f"set train.{key}=false")


def engine(recipe: Recipe, facts: Facts) -> Faults:
    """The serving engine runs on the card."""
    if recipe.serve.engine == "vllm" and recipe.hardware.device == "cpu":
        said = f"serve.engine vllm needs a GPU, {recipe.hardware.name} is none"
        yield fail("serve.engine", said, "set serve.engine=transformers")
