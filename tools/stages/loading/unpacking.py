"""Layers of bitsandbytes that unpack their weights whenever they compute. Imports torch."""

from typing import Any

import bitsandbytes as bnb
import torch
from transformers.integrations.bitsandbytes import dequantize_bnb_weight

PACKED = (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)


class Unpacking(torch.nn.Linear):
    """A linear layer like any other, to PEFT too, whose weight is made when it is asked for.

    Args:
        layer: of bitsandbytes, its weights packed.
    """

    def __init__(self, layer: Any) -> None:
        torch.nn.Module.__init__(self)  # not Linear's, which would make a weight
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.packed = layer.weight
        self.register_parameter("bias", layer.bias)
        # Of 8 bits the scales: what the layer itself keeps once it has computed.
        self._state = getattr(layer, "state", None)

    @property
    def weight(self) -> torch.Tensor:
        """As ``dequantize()`` of transformers has it."""
        return dequantize_bnb_weight(self.packed, self._state)


class Casting(torch.nn.Linear):
    """A linear layer that keeps its weight in a narrower type than it computes in.

    Args:
        layer: whose weight it is.
        dtype: that is computed in.
    """

    def __init__(self, layer: torch.nn.Linear, dtype: torch.dtype) -> None:
        torch.nn.Module.__init__(self)  # not Linear's, which would make a weight
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.stored, self._dtype = layer.weight, dtype
        self.register_parameter("bias", layer.bias)

    @property
    def weight(self) -> torch.Tensor:
        """As it is computed with."""
        return self.stored.to(self._dtype)


def cast_by_layer(net: Any, dtype: torch.dtype) -> Any:
    """A model that computes in a wider type, its large matrices left as they are.

    To widen a number changes nothing of it: the same is computed as of a model loaded so.

    Args:
        net: of transformers, of whole weights.
        dtype: that it is to compute in.
    """

    def widened(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output.to(dtype)

    for name, module in list(net.named_modules()):
        if type(module) is torch.nn.Linear:
            net.set_submodule(name, Casting(module, dtype))
        elif isinstance(module, torch.nn.Embedding):
            module.register_forward_hook(widened)
    for module in net.modules():
        for name, one in module.named_parameters(recurse=False):
            matrix = isinstance(module, torch.nn.Embedding | Casting) and name != "bias"
            if not matrix and one.is_floating_point():
                one.data = one.data.to(dtype)
    return net


def whole_size(net: Any) -> int:
    """Bytes of the packed layers' weights once they are all unpacked."""
    layers = [module for module in net.modules() if isinstance(module, PACKED)]
    return sum(one.in_features * one.out_features * _itemsize(one) for one in layers)


def _itemsize(layer: Any) -> int:
    state = getattr(layer.weight, "quant_state", None)
    return int(state.dtype.itemsize) if state is not None else 4  # 8 bits are unpacked as fp32


def by_layer(net: Any) -> Any:
    """Put an :class:`Unpacking` in the place of each packed layer."""
    for name, module in list(net.named_modules()):
        if isinstance(module, PACKED):
            net.set_submodule(name, Unpacking(module))
    return net
