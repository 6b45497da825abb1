"""Quantized weights as numbers that are computed with: the very same numbers, once, at the start.

bitsandbytes' CPU kernels are about ten times slower than float32 and compute in bfloat16. What
llm-compressor makes is unpacked by transformers as well, at the first forward pass, and its layers
stay wrapped; here they become plain ones, so that a step costs what it costs of whole weights.
Activations, which vLLM rounds for ``w8a8`` and ``fp8``, are computed whole.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Compressed-tensors draws a bar over the layers at every load, and has no switch for it."""
    from tqdm import tqdm

    bars: Any = tqdm
    init = bars.__init__

    def hidden(bar: Any, *words: Any, **options: Any) -> None:
        init(bar, *words, **options | {"disable": True})  # some say themselves that it is not

    bars.__init__ = hidden
    try:
        yield
    finally:
        bars.__init__ = init


def method_of(model: Any) -> str:
    """Method of the stored weights, or ``none``."""
    stored = getattr(model.config, "quantization_config", None)
    method = getattr(stored, "quant_method", "none")
    return str(getattr(method, "value", method))


def unpack(model: Any) -> Any:
    """A loaded model whose weights are as they are computed with.

    Args:
        model: of transformers; one of whole weights is left as it is, and on a card one of
            bitsandbytes', whose kernels are there.

    Returns:
        The model, changed.
    """
    method = method_of(model)
    if method == "bitsandbytes" and model.device.type == "cpu":
        return model.dequantize()
    if method == "compressed-tensors":
        _unpack(model)
    return model


def _unpack(model: nn.Module) -> None:
    from compressed_tensors.compressors.base import decompress_module

    named = [(name, one) for name, one in model.named_modules() if hasattr(one, _SCHEME)]
    for name, module in named:
        decompress_module(module)
        if isinstance(module, nn.Linear):
            model.set_submodule(name, _plain(module))
    hook = getattr(model, "ct_decompress_hook", None)
    if hook is not None:
        hook.remove()  # it would unpack what is unpacked
        del model.ct_decompress_hook


_SCHEME = "quantization_scheme"


def _plain(module: nn.Linear) -> nn.Linear:
    """The layer without its wrapping."""
    weight, bias = module.weight.detach(), module.bias
    plain = nn.Linear(module.in_features, module.out_features, bias is not None, device="meta")
    plain.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        plain.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return plain
