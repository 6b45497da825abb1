"""The formats that llm-compressor makes: what each takes, and where the package lies.

It asks for an older transformers than Axolotl pins, so it has an environment of its own, which
holds it alone: the rest of what it needs is the main environment's.
"""

from dataclasses import dataclass

from tools.environments import Environment
from tools.recipe.schema import Quantize

VERSION = "0.14.0.1"  # as in requirements/compress.in
ENVIRONMENT = Environment(
    f"llm-compressor {VERSION}", "compress", f"llmcompressor-{VERSION}.dist-info"
)
PER_ROW = -1  # quantize.group_size: one scale a row of a matrix, as GPTQ writes it
GROUPS = (PER_ROW, 32, 64, 128)  # that vLLM has kernels for (Marlin)


@dataclass(frozen=True)
class Format:
    """One of them.

    Attributes:
        scheme: llm-compressor's name.
        modifiers: what may make it, the usual one first.
        grouped: weights share scales by groups of ``quantize.group_size``.
        smoothed: activations are rounded to 8 bits, and SmoothQuant may spread their outliers.
    """

    scheme: str
    modifiers: tuple[str, ...]
    grouped: bool = False
    smoothed: bool = False


FORMATS = {
    "w4a16": Format("W4A16", ("gptq", "awq", "rtn"), grouped=True),
    "w8a16": Format("W8A16", ("rtn", "gptq", "awq"), grouped=True),
    "w8a8": Format("W8A8", ("gptq", "rtn"), smoothed=True),
    "fp8": Format("FP8_DYNAMIC", ("rtn",)),
}


def modifier_of(wanted: Quantize) -> str:
    """What makes the format: the recipe's choice, or the usual one."""
    return wanted.modifier or FORMATS[wanted.format].modifiers[0]


def calibrates(wanted: Quantize) -> bool:
    """Whether rows are computed to make the format."""
    return modifier_of(wanted) != "rtn" or wanted.smoothing_strength > 0


def group_of(wanted: Quantize) -> int:
    """Weights that share a scale, ``PER_ROW`` or 0 where the format has no groups."""
    return (wanted.group_size or 128) if FORMATS[wanted.format].grouped else 0


def versions(wanted: Quantize) -> dict[str, str]:
    """The packages that decide a format's bytes; nothing for formats that others make."""
    if wanted.format not in FORMATS:
        return {}
    from importlib import metadata

    try:
        layout = metadata.version("compressed-tensors")
    except metadata.PackageNotFoundError:
        layout = "absent"
    return {"llmcompressor": VERSION, "compressed-tensors": layout}
