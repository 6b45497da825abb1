"""What a card can do: number formats, attention, kernels, served formats, engines."""

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path
from typing import Any

from serve import limits
from tools.check.rules.base import Facts, Faults, fail, warn
from tools.files import read_json
from tools.recipe import footprint, lora_kernels
from tools.recipe.formats import FORMATS, SERVED, capability, closest, runs, why_not
from tools.recipe.kinds import KINDS
from tools.recipe.schema import Hardware, Recipe

_AMPERE, _ADA, _HOPPER = (8, 0), (8, 9), (9, 0)  # compute capabilities
# Axolotl's older switches, and what they mean (axolotl.utils.schemas.enums 0.21.0).
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
    """The card runs the served format, by its own list and by its compute capability."""
    card, wanted = recipe.hardware, recipe.quantize.format
    listed = card.quantize_formats
    able = [name for name in SERVED if name in listed and runs(name, card.device, card.capability)]
    if wanted not in able:
        lacks = not runs(wanted, card.device, card.capability)
        why = why_not(wanted, card.device) if lacks else "hardware.quantize_formats leaves it out"
        said = f"quantize.format {wanted} does not run on {card.name} ({why})"
        remedy = "list in hardware.quantize_formats what it does run"
        if able:
            packed = [name for name in able if not footprint.unpacks(recipe, name)]
            near = closest(wanted, packed if card.device == "cuda" and packed else able)
            remedy = f"set quantize.format={near}, the nearest that works, or one of "
            remedy += f"{', '.join(able)}; auto chooses"
        yield fail("quantize.format", said, remedy)
    if beyond := [name for name in listed if not runs(name, card.device, card.capability)]:
        key = "hardware.quantize_formats"
        said = f"{key} names what {card.name} does not run: "
        said += "; ".join(why_not(name, card.device) for name in beyond)
        yield warn(key, said, f"take out {', '.join(beyond)}, or mend hardware.capability")
    engines = FORMATS[wanted].engines
    if wanted in able and card.device == "cuda" and footprint.unpacks(recipe, wanted):
        said = f"quantize.format {wanted}: serve.engine {recipe.serve.engine} unpacks it as it"
        said += " loads, so it is no smaller and no faster than none"
        yield warn("serve.engine", said, f"set serve.engine={engines[0]}, or quantize.format=auto")


def gate(recipe: Recipe, facts: Facts) -> Faults:
    """A quantized model that is beyond its limits is not served."""
    if recipe.quantize.keep:
        said = "quantize.keep is true: a quantized model beyond its limits is kept and served"
        yield warn("quantize.keep", said, "set it to false once you have looked at its figures")


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
        yield fail("train.attn_implementation", said, "set train.attn_implementation=sdpa")


# What is in no lock but gpu.txt's, by attention: a package, and how it is had.
_PACKAGES = {
    "flash_attention_2": ("flash-attn", "make gpu builds flash-attn, with nvcc and an hour"),
    "flash_attention_3": ("flash-attn-3", "it is built from its sources, with nvcc"),
    "flash_attention_4": ("flash-attn-4", "pip install flash-attn-4 brings it"),
    "sage": ("sageattention", "pip install sageattention builds it, with nvcc"),
}


def attention_package(recipe: Recipe, facts: Facts) -> Faults:
    """The attention that is asked for is installed, where the card would run it."""
    name = attention(recipe.train)
    package, how = _PACKAGES.get(name, ("", ""))
    runs = _able(recipe.hardware, _NEEDS.get(name, ((0, 0), ""))[0])
    said, wheels = "", 'SET="train.attn_implementation=sdpa train.sdpa_varlen=true" needs no other'
    if package and not installed(package):
        said = f"train.attn_implementation {name} needs {package}, which is not installed"
    elif name == "xformers" and (other := _xformers_torch()):
        said = f"train.attn_implementation xformers: its kernels are built for torch {other}"
        how = "install an xformers for this torch"
    if said and runs:
        # Without a card this machine only looks at the recipe: another will run it.
        tell = fail if shutil.which("nvidia-smi") else warn
        yield tell("train.attn_implementation", said, f"{how}; {wheels}")


def installed(package: str) -> bool:
    """Whether a distribution is in this environment; it is not imported."""
    from importlib import metadata  # most recipes name no package, and it takes a tenth of a check

    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _xformers_torch() -> str:
    """The torch that xformers was built for, where it is another than the one installed."""
    found = importlib.util.find_spec("xformers")
    if found is None or not found.submodule_search_locations:
        return "of none: it is not installed"
    stored = Path(found.submodule_search_locations[0]) / "cpp_lib.json"
    built = (read_json(stored) or {}).get("version", {}).get("torch", "")
    from importlib import metadata

    here = metadata.version("torch")
    return built if built.partition("+")[0] != here.partition("+")[0] else ""


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


def compiler(recipe: Recipe, facts: Facts) -> Faults:
    """What Triton needs is there, where the card is: it builds the launcher of each kernel in C.

    Source: triton/runtime/build.py of Triton 3.7.1, which takes CC, gcc or clang.
    """
    wants = _by_triton(recipe.train)
    if recipe.hardware.device != "cuda" or not wants or not shutil.which("nvidia-smi"):
        return
    missing = []
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        missing.append("a C compiler (gcc, clang, or what CC names)")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing.append("Python's headers (Python.h)")
    if missing:
        said = f"{', '.join(wants)} run by Triton, which needs {' and '.join(missing)}: not here"
        yield fail("train", said, "apt install gcc python3.12-dev, or the like of them")


def _by_triton(train: dict[str, Any]) -> list[str]:
    """Keys under ``train`` whose code Triton builds on the machine."""
    found = [f"train.lora_{name}_kernel" for name in sorted(lora_kernels.turned_on(train))]
    # torch.compile computes Axolotl's chunks.
    found += [
        f"train.{key}" for key in ("chunked_cross_entropy", "torch_compile") if train.get(key)
    ]
    return found + [f"train.{key}" for key in sorted(train) if "liger" in key and train[key]]


def engine(recipe: Recipe, facts: Facts) -> Faults:
    """The serving engine runs on the card, and computes there in what is asked of it."""
    if recipe.serve.engine == "vllm" and recipe.hardware.device == "cpu":
        said = f"serve.engine vllm needs a GPU, {recipe.hardware.name} is none"
        yield fail("serve.engine", said, "set serve.engine=transformers")
    for key, text in limits.of_device(recipe.serve, recipe.hardware.device):
        said, _, remedy = text.partition("; ")
        yield fail(f"serve.{key}", f"serve.{key}: {said}", remedy)
    kind = KINDS[recipe.model.kind]
    if recipe.serve.dtype == "int8" and kind.parted:
        said = f"serve.dtype: int8 is for causal models, not {kind.said}"
        yield fail("serve.dtype", said, "set it to float32 or bfloat16")
