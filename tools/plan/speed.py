"""Tokens a second and hours of training: the card's peak, and what published runs reached of it.

    tokens/s = share * peak / (flops a weight * weights)

Each token goes once forward through every weight (2 operations), once backward through the
activations (2) and, under gradient checkpointing, forward again (2); weights that are trained take
2 more. Weights are the linear parts and the head. Attention is left out: rows are short beside
their pack. A range is given, not a number: kernels, packing and batch decide where in it a run is.
"""

from dataclasses import dataclass

from tools.plan.memory import Job, linear_parameters
from tools.recipe.schema import Hardware

# Lowest and highest share of the bf16 peak that training reached, by compute capability and method.
# 8.0, A100: LLaMA-Factory's table (QLoRA 29 to 47 %, LoRA 38), torchtune's (LoRA 51).
# 8.9, RTX 4090: torchtune's table (QLoRA 66 %; its LoRA, 84 %, is no plan); lows as 1,200 tokens/s
# of a 7B QLoRA and as LoRA on the A100.
# CPU: the demo recipe on two cores, 150 to 170 tokens/s.
_SHARES = {
    ("8.0", "qlora"): (0.29, 0.47),
    ("8.0", "lora"): (0.38, 0.51),
    ("8.9", "qlora"): (0.33, 0.66),
    ("8.9", "lora"): (0.38, 0.66),
    ("cpu", "qlora"): (0.6, 1.0),
    ("cpu", "lora"): (0.6, 1.0),
}
_ANY = (0.29, 0.66)  # of a card no run was published for
# Rows padded, not packed: 2,091 instead of 7,075 tokens/s on short rows (torchtune's table).
_UNPACKED = 2091 / 7075
_DORA = 942 / 1191  # seconds of LoRA and DoRA for the same rows (peft's method comparison)
# Bytes of the data stage's rows that make a token: the demo's, 167,542 for 51,200.
BYTES_A_TOKEN = 3.3
# Where rows are not made yet. The 4090 track's winner trained 612,000 rows in 16 hours, 110 to 230
# tokens each at 1,200 to 2,400 tokens/s.
TOKENS_A_ROW = 150


@dataclass(frozen=True)
class Range:
    """A lowest and a highest value."""

    low: float
    high: float

    def scaled(self, factor: float) -> "Range":
        """Both ends times a factor."""
        return Range(self.low * factor, self.high * factor)


def tokens_per_second(job: Job, card: Hardware, packed: bool) -> Range:
    """What training may reach on all its cards together.

    Args:
        job: what is trained.
        card: where; its ``tflops`` are the peak.
        packed: whether rows fill the sequence; the low end counts padding, on a GPU, if not.
    """
    share = Range(*_shares(job, card))
    speed = share.scaled(card.tflops * 1e12 * card.gpus / flops_per_token(job))
    if job.dora:
        speed = speed.scaled(_DORA)
    if not packed and card.device == "cuda":
        return Range(speed.low * _UNPACKED, speed.high)
    return speed


def passes(job: Job) -> int:
    """How often a trained token goes through every weight, 2 operations each."""
    return 2 + job.checkpointing + (job.method == "full")


def flops_per_token(job: Job) -> float:
    """Floating-point operations a trained token takes."""
    return 2.0 * passes(job) * (linear_parameters(job.arch) + job.arch.vocab * job.arch.hidden)


def hours(tokens: float, speed: Range) -> Range:
    """Quickest and slowest time for so many tokens."""
    return Range(tokens / speed.high / 3600, tokens / speed.low / 3600)


def _shares(job: Job, card: Hardware) -> tuple[float, float]:
    kind = "cpu" if card.device == "cpu" else card.capability
    # Neither unpacks 4-bit weights on the way, which is what sets qlora apart.
    method = "lora" if job.method == "full" else job.method
    return _SHARES.get((kind, method), _ANY)
