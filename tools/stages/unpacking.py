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
