"""The formats of a finished model: bits, who makes them, and where they compute as they are.

Sources of the capabilities: vLLM's table of hardware (docs.vllm.ai, features/quantization: Marlin
from Ampere, INT8 W8A8 from Turing, FP8 W8A8 from Ada) and bitsandbytes' (huggingface.co/docs,
installation: LLM.int8() from 7.5, NF4 from 6.0). Of needs: arXiv 2411.02355 and llm-compressor's
``choosing-scheme``: few clients wait for memory, so the fewest bytes a weight answer first; many
clients wait for products, which 8-bit activations make cheaper.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tools.recipe.kinds import KINDS, KindName

Need = Literal["latency", "throughput"]
Tool = Literal["", "bitsandbytes", "axolotl", "llm-compressor", "llama.cpp"]
Capability = tuple[int, int]

#: Engines of ``serve.engine`` that load a folder through transformers.
_TORCH = ("transformers", "hf-dynamic", "reference")


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: as ``quantize.format`` or ``TYPE=`` has it.
        bits: of a linear weight on the disk, its scales included.
        capability: the least CUDA compute capability that serves it; None: no card does.
        cpu: whether it is made and served on a CPU (unpacked there, to the same numbers).
        need: what it is good for; None: neither more than the other.
        tool: what makes it; empty: nothing is to be made.
        engines: of ``serve.engine``, or llama.cpp: those that compute with its weights as they are
            stored. Another one unpacks them as it loads: no smaller and no faster than none.
        rows: whether making it, as is usual, takes rows of the run to calibrate by.
    """

    name: str
    bits: float
    capability: Capability | None
    cpu: bool
    need: Need | None
    tool: Tool
    engines: tuple[str, ...]
    rows: bool = False


def _gguf(name: str, bits: float) -> Format:
    return Format(name, bits, (7, 0), True, None, "llama.cpp", ("llama.cpp",))


# Coarser weights later: where two serve a need alike, the first one changes the model less.
_ALL = (
    # 16 bits as merged on a card; a model that is trained in fp32, as on a CPU, has 32.
    Format("none", 16.0, (0, 0), True, None, "", (*_TORCH, "vllm")),
    Format("fp8", 8.0, (8, 9), True, "throughput", "llm-compressor", ("vllm",)),
    # A scale an output channel, which is too little to count.
    Format("w8a16", 8.0, (8, 0), True, "latency", "llm-compressor", ("vllm",)),
    Format("w8a8", 8.0, (7, 5), True, "throughput", "llm-compressor", ("vllm",), rows=True),
    Format("int8", 8.0, (7, 5), True, None, "bitsandbytes", (*_TORCH, "vllm")),
    # A 16-bit scale a group of 128.
    Format("w4a16", 4.125, (8, 0), True, "latency", "llm-compressor", ("vllm",), rows=True),
    # An 8-bit scale a block of 64, and one of fp32 for 256 blocks (tools.plan.job.NF4_DOUBLE).
    Format("nf4", 4.127, (6, 0), True, None, "bitsandbytes", (*_TORCH, "vllm")),
    # 4-bit weights that torchao keeps as int8, a group of 32 with an fp32 scale.
    Format("int8_int4", 9.04, None, True, None, "axolotl", _TORCH),
    # Of llama.cpp's mixed types the mean over a 7B model.
    _gguf("F32", 32.0),
    _gguf("BF16", 16.0),
    _gguf("F16", 16.0),
    _gguf("Q8_0", 8.5),
    _gguf("Q6_K", 6.6),
    _gguf("Q5_K_M", 5.7),
    _gguf("Q4_K_M", 4.9),
)
FORMATS: dict[str, Format] = {one.name: one for one in _ALL}
#: What ``quantize.format`` may be, finest first; ``auto`` is one of these once a recipe is read.
SERVED = tuple(name for name, one in FORMATS.items() if one.tool != "llama.cpp")
#: Weight types of a GGUF, finest first, as llama.cpp names them.
GGUF = tuple(name for name, one in FORMATS.items() if one.tool == "llama.cpp")


#: What makes a format of models that are not causal, too: it knows any ``nn.Linear``.
_ANY_KIND: tuple[Tool, ...] = ("", "bitsandbytes")


def made_of(name: str, kind: KindName) -> bool:
    """Whether there is a format of a kind of models: all there are of causal ones."""
    return not KINDS[kind].parted or FORMATS[name].tool in _ANY_KIND


def not_made(name: str) -> str:
    """Why a format is not of a kind of models, in words."""
    return f"{name} is made by {FORMATS[name].tool}, here of causal models"


def capability(text: str) -> Capability:
    """``8.9`` as numbers, (0, 0) for a card without CUDA."""
    major, _, minor = text.partition(".")
    # The 0 stands in for a minor that is left out: no text is no digit to isdigit.
    return (int(major), int(minor or 0)) if major.isdigit() and f"{minor}0".isdigit() else (0, 0)


def runs(name: str, device: str, has: str) -> bool:
    """Whether a format is served there.

    Args:
        name: of the format.
        device: ``cpu`` or ``cuda``.
        has: the card's compute capability, such as ``8.9``.
    """
    form = FORMATS[name]
    if device == "cpu":
        return form.cpu
    return form.capability is not None and capability(has) >= form.capability


def why_not(name: str, device: str) -> str:
    """What a format needs, where it does not run."""
    least = FORMATS[name].capability
    if least is None:
        return f"{name} computes on a CPU only"
    needs = f"{name} needs compute capability {least[0]}.{least[1]}"
    return f"{needs}, a card" if device == "cpu" else needs


def closest(name: str, known: Iterable[str]) -> str:
    """Of some formats the one most like another: for its need, then in bits."""
    wanted = FORMATS[name]

    def apart(other: str) -> tuple[bool, float]:
        one = FORMATS[other]
        return (one.need not in (None, wanted.need), abs(one.bits - wanted.bits))

    return min(known, key=apart)
