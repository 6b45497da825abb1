"""Linear layers for the CPU, their weights laid out once as oneDNN wants them.

PyTorch's own float32 product of a few rows reads a large matrix at a third of the memory's speed;
oneDNN's packed one is 1.4 to 1.9 times faster at 1 to 16 rows (measured). The operators are not
public: each layer is tried when it is packed, and stays as it was if anything is not as expected.
"""

import logging

import torch
from torch import nn

log = logging.getLogger(__name__)

#: Rows that the layout is made for; any number works.
ROWS = 16

#: Largest difference from ``nn.Linear``, as a share of the largest output: float32 sums in another
#: order.
TOLERANCE = 1e-5


class PackedLinear(nn.Module):
    """``nn.Linear`` in float32 on the CPU.

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
    """Packs every float32 ``nn.Linear`` that comes out the same.

    Returns:
        How many were packed.
    """
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return 0
    # By type: subclasses, such as those of 4 and 8 bits, compute something else.
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and child.weight.dtype == torch.float32
    ]
    done = 0
    for parent, name, child in places:
        packed = _packed(child)
        if packed:
            setattr(parent, name, packed)
            done += 1
    if done < len(places):
        log.warning("%d of %d linear layers could not be packed", len(places) - done, len(places))
    return done


def _packed(linear: nn.Linear) -> PackedLinear | None:
    """The packed layer, or None if it does not compute the same."""
    rows = torch.linspace(-1, 1, 3 * linear.in_features).sin_().view(1, 3, -1)
    expected = linear(rows)
    try:
        packed = PackedLinear(linear)
        difference = (packed(rows) - expected).abs().max()
    except RuntimeError as error:
        log.debug("not packed: %s", error)
        return None
    return packed if bool(difference <= TOLERANCE * (1 + expected.abs().max())) else None
