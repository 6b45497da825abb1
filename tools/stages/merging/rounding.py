"""What bitsandbytes makes of a weight when it loads it in 4 bits."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rounding:
    """How a base was put into 4 bits.

    Attributes:
        how: transformers' ``BitsAndBytesConfig``.
        dtype: torch's, that the weights were loaded in.
        device: where; a card's kernel may round a scale otherwise than a CPU's.
    """

    how: Any
    dtype: Any
    device: str

    def as_trained(self, weight: Any, transposed: bool) -> Any:
        """A weight through 4 bits and back, in ``dtype``, on the CPU.

        Args:
            weight: as the file has it.
            transposed: whether the layer is a ``Conv1D``, which lies the other way round.
        """
        import bitsandbytes as bnb

        value = weight.to(self.dtype)
        packed = bnb.nn.Params4bit(
            value.T.contiguous() if transposed else value,
            requires_grad=False,
            compress_statistics=self.how.bnb_4bit_use_double_quant,
            quant_type=self.how.bnb_4bit_quant_type,
        ).to(self.device)
        back = bnb.functional.dequantize_4bit(packed.data, packed.quant_state).cpu()
        return back.T.contiguous() if transposed else back
