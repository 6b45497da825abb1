"""Linear layers for the CPU, their weights laid out once as oneDNN wants them.

PyTorch's own float32 product of a few rows reads a large matrix at a third of the memory's speed;
oneDNN's packed one is 1.4 to 1.9 times faster at 1 to 16 rows (measured). The operators are not
public: each layer is tried when it is packed, and stays as it was if anything is not as expected.
"""

import logging
from collections.abc import Callable, Collection

import torch
from torch import nn

log = logging.getLogger(__name__)

#: Rows that the layout is made for; any number works.
ROWS = 16

#: Largest difference from ``nn.Linear``, as a share of the largest output: float32 sums in another
#: order, and bfloat16 rounds what comes out to 8 bits.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


class PackedLinear(nn.Module):
    """``nn.Linear`` on the CPU, in float32 or bfloat16.

    Args:
        linear: what it computes.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        self.bias = linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """``[..., in_features]`` to ``[..., out_features]``."""
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self.weight, self.bias, "none", [], ""
        )
        return output


@torch.inference_mode()
def pack(model: nn.Module) -> int:
    """Packs every ``nn.Linear`` that comes out the same: of float32, and of bfloat16 on some CPUs.

    Returns:
        How many were packed.
    """
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return 0
    dtypes = [torch.float32, torch.bfloat16] if computes_bfloat16() else [torch.float32]
    return exchange(model, dtypes, _packed)


def computes_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 by itself; others take it apart, slower than float32."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def exchange(
    model: nn.Module,
    dtypes: Collection[torch.dtype],
    make: Callable[[nn.Linear], nn.Module | None],
) -> int:
    """Puts layers of another make in the place of plain linear ones; tells of those that stay.

    Args:
        model: changed in place.
        dtypes: weights of these are looked at.
        make: the other layer; None where it does not compute the same.

    Returns:
        How many were exchanged.
    """
    # By type: subclasses, such as those of 4 and 8 bits, compute something else.
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and child.weight.dtype in dtypes
    ]
    done = 0
    for parent, name, child in places:
        made = make(child)
        if made:
            setattr(parent, name, made)
            done += 1
    if done < len(places):
        log.warning("%d of %d linear layers could not be packed", len(places) - done, len(places))
    return done


def probe_rows(linear: nn.Linear) -> torch.Tensor:
    """``[1, 3, in_features]``: what a layer of another make is tried on."""
    rows = torch.linspace(-1, 1, 3 * linear.in_features).sin_().view(1, 3, -1)
    return rows.to(linear.weight.dtype)


def _packed(linear: nn.Linear) -> PackedLinear | None:
    """The packed layer, or None if it does not compute the same."""
    rows = probe_rows(linear)
    expected = linear(rows)
    try:
        packed = PackedLinear(linear)
        difference = (packed(rows) - expected).abs().max()
    except RuntimeError as error:
        log.debug("not packed: %s", error)
        return None
    allowed = TOLERANCE[linear.weight.dtype] * (1 + expected.abs().max())
    return packed if bool(difference <= allowed) else None
