"""Linear layers in 8 bits, for the CPU: a quarter of float32's bytes are read for each token.

Weights have a scale an output, activations a scale a token, both of the largest number there. What
a token comes to is a sum of whole numbers, exact in any order, so that it does not depend on the
tokens beside it: a scale a batch, as torch's own dynamic layers have it, would make an answer
another one in company.

An activation is two numbers of 8 bits, what it is and what is left of it: one alone raised the
perplexity of a model of 135 M weights by 8.6 %, two by 1.1 %, as the weights' rounding does by
itself (measured). Both go through one product; the weights are read once.

The operator is not public: each layer is tried when it is made.
"""

import logging

import torch
from torch import nn

from serve.engine.packed import exchange, probe_rows

log = logging.getLogger(__name__)

#: Largest number of 8 bits with a sign, the same on both sides.
MOST = 127

#: What is left of a number when it has been rounded is half a step at most: its unit.
REST = 2 * MOST

#: Largest difference of a layer's outputs from float32's, as a share of them (norms): weights are
#: rounded to one part in 254 of an output's largest.
TOLERANCE = 0.05


class Rounding:
    """Rows in 8 bits; layers that are fed the very same rows one after the other share them."""

    def __init__(self) -> None:
        self._last: torch.Tensor | None = None
        self._made: tuple[torch.Tensor, torch.Tensor]

    def __call__(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows as whole numbers.

        Args:
            rows: ``[..., width]``.

        Returns:
            ``[2 * rows, width]``, what is left of each behind all; and ``[rows, 1]``, their units.
        """
        if rows is not self._last:
            flat = rows.reshape(-1, rows.shape[-1])
            largest = torch.linalg.vector_norm(flat, torch.inf, -1, keepdim=True)
            unit = largest.clamp_(min=1e-30).div_(MOST)  # a row of zeros has no scale
            exact = flat / unit
            whole = exact.round()
            rest = exact.sub_(whole).mul_(REST).round_()
            self._made = torch.cat((whole, rest)).to(torch.int8), unit
            self._last = rows
        return self._made


class EightBitLinear(nn.Module):
    """``nn.Linear`` with weights in 8 bits; float32 comes in and goes out.

    Args:
        linear: what it computes, nearly.
        rounding: the model's.
    """

    def __init__(self, linear: nn.Linear, rounding: Rounding) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = weight.abs().amax(1).clamp_(min=1e-30).div_(MOST)
        # As it is stored, an output a row: oneDNN reads it so, and nothing is packed.
        self.weight = (weight / scale[:, None]).round_().to(torch.int8).t()
        self.scale = scale
        self.bias = linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._rounding = rounding

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """``[..., in_features]`` to ``[..., out_features]``."""
        whole, unit = self._rounding(rows)
        sums, count = torch._int_mm(whole, self.weight).float(), len(unit)
        output = sums[:count].add_(sums[count:], alpha=1 / REST).mul_(self.scale).mul_(unit)
        if self.bias is not None:
            output += self.bias
        return output.view(*rows.shape[:-1], self.out_features)


@torch.inference_mode()
def to_eight_bits(model: nn.Module) -> int:
    """Puts 8 bits in the place of every float32 ``nn.Linear`` that comes out nearly the same.

    Returns:
        How many were exchanged.
    """
    rounding = Rounding()

    def make(linear: nn.Linear) -> nn.Module | None:
        return _made(linear, rounding)

    return exchange(model, [torch.float32], make)


def _made(linear: nn.Linear, rounding: Rounding) -> EightBitLinear | None:
    """The layer in 8 bits, or None if it does not compute nearly the same."""
    if linear.in_features == 1:
        return None  # torch 2.13 answers anything then: findings/int-mm-of-one-column.sh
    rows = probe_rows(linear)
    expected = linear(rows)
    try:
        made = EightBitLinear(linear, rounding)
        difference = (made(rows) - expected).norm()
    except (RuntimeError, AttributeError) as error:
        log.debug("not in 8 bits: %s", error)
        return None
    return made if bool(difference <= TOLERANCE * expected.norm()) else None
