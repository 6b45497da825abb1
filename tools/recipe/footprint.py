"""What a served model weighs: on the disk, and in memory with so many clients."""

from tools.recipe.arch import head_width, packed_parameters, parameters
from tools.recipe.formats import FORMATS, GGUF
from tools.recipe.schema import Architecture, Recipe

#: Bytes for CUDA's libraries, the allocator and what one step computes.
CONTEXT = 0.5e9
_FP32, _HALF = 4, 2


def weights(arch: Architecture, name: str, size: int) -> float:
    """Bytes of a model in a format; embedding and head stay as they were merged, but in a GGUF.

    So do experts, norms, and T5's ``wo``: bitsandbytes and its kin pack other layers.

    Args:
        arch: the model's numbers.
        name: of the format.
        size: bytes of a weight as merged.
    """
    bytes_each = size if name == "none" else FORMATS[name].bits / 8
    if name in GGUF:
        return parameters(arch) * bytes_each
    packed = packed_parameters(arch)
    return packed * bytes_each + (parameters(arch) - packed) * size


def cache(arch: Architecture, tokens: float, size: int = _HALF) -> float:
    """Bytes of keys and values of so many tokens, all layers.

    A decoder behind an encoder keeps those of the prompt's tokens and those of its own: the answer
    is counted as long as the prompt. An encoder alone computes all anew for each token.
    """
    _, key = head_width(arch)
    layers = 2 * arch.encoder.decoder_layers if arch.encoder else arch.layers
    return 2.0 * layers * key * size * tokens


def unpacks(recipe: Recipe, name: str) -> bool:
    """Whether the worker unpacks a format as it loads: always on a CPU, else by its engine.

    A GGUF is none of the worker's: llama.cpp computes with it as it is.
    """
    if name == "none" or name in GGUF:
        return False
    return recipe.hardware.device == "cpu" or recipe.serve.engine not in FORMATS[name].engines


def serving(recipe: Recipe, arch: Architecture, name: str, clients: int) -> float:
    """Bytes of memory when so many clients are answered at once, each with a full context.

    Args:
        recipe: card, engine, context.
        arch: the model's numbers.
        name: of the format.
        clients: completions in work.
    """
    cpu = recipe.hardware.device == "cpu" and name not in GGUF  # llama.cpp's cache is F16
    size = _FP32 if cpu and recipe.serve.dtype in ("auto", "float32", "int8") else _HALF
    held = weights(arch, "none" if unpacks(recipe, name) else name, size)
    kept = cache(arch, clients * min(recipe.serve.context, recipe.model.context), size)
    if cpu and recipe.serve.dtype == "int8":  # in float32 until it has been held against that
        return max(held, weights(arch, "int8", size) + kept) + CONTEXT
    return held + kept + CONTEXT
