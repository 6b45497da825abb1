"""Tokens a second and hours of training: the card's peak, and what runs reached of it.

    tokens/s = share * peak / (flops a weight * weights)

Each token goes once forward through every weight (2 operations), once backward through the
activations (2) and, under gradient checkpointing, forward again (2, less what selective
checkpointing keeps); weights that are trained take 2 more. Weights are the linear parts, the
experts that a token goes through, and the head. Attention is left out: rows are short beside their
pack. A range is given, not a number: kernels, packing and batch decide where in it a run is. A
probe of the card narrows it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tools.plan import sides
from tools.plan.job import Job
from tools.plan.probes import Probe
from tools.recipe.arch import active_parameters, shapes
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
# Around the share that a probe reached: on a card of the same capability, and on another.
_SAME, _OTHER = 1.2, 1.45
# A forward and backward pass costs as much as so many tokens more: launches, and 4-bit weights that
# are unpacked. LLaMA-Factory's table, 1,024 to 16,384 tokens a pass: 292 us + 150 ms / tokens.
# Published shares are of passes of some 8,192.
_PASS, _USUAL = 500, 8192
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


def tokens_per_second(
    job: Job, card: Hardware, packed: bool, probes: Sequence[Probe] = ()
) -> Range:
    """What training may reach on all its cards together.

    Args:
        job: what is trained.
        card: where; its ``tflops`` are the peak.
        packed: whether rows fill the sequence; the low end counts padding, on a GPU, if not.
        probes: runs that were measured.
    """
    peak = card.tflops * 1e12 * card.gpus
    if near := nearest(job, card, probes):
        around = _SAME if near.capability == card.capability else _OTHER
        speed = Range(1 / around, around).scaled(_share(near) * peak / cost(job))
    else:
        usual = flops_per_token(job) if card.device == "cpu" else cost(job) / (1 + _PASS / _USUAL)
        speed = Range(*_published(job, card)).scaled(peak / usual)
        speed = speed.scaled(_DORA) if job.dora else speed
    if not packed and card.device == "cuda":
        return Range(speed.low * _UNPACKED, speed.high)
    return speed


def nearest(job: Job, card: Hardware, probes: Sequence[Probe]) -> Probe | None:
    """The probe that tells most of a job's speed; None where published runs tell more.

    One of the same capability and method comes first, of those the one whose model and pass are the
    most alike. Another card's counts where no run was published for this one.
    """
    if card.device != "cuda":
        return None
    alike = [one for one in probes if _kind(one.job) == _kind(job) and one.job.dora == job.dora]
    same = [one for one in alike if one.capability == card.capability]
    if not same and (card.capability, _kind(job)) in _SHARES:
        return None
    return min(same or alike, key=lambda one: _apart(one.job, job), default=None)


def passes(job: Job) -> float:
    """How often a trained token goes through every weight, 2 operations each."""
    return 2 + _again(job) + (job.method == "full")


def flops_per_token(job: Job) -> float:
    """Floating-point operations a trained token takes."""
    if job.arch.encoder:
        return sides.flops_per_token(job, passes(job))
    return 2.0 * passes(job) * (active_parameters(job.arch) + job.arch.vocab * job.arch.hidden)


def cost(job: Job) -> float:
    """What a trained token costs, in operations: its own, and its part of what a pass costs."""
    return flops_per_token(job) * (1 + _PASS / job.tokens)


def hours(tokens: float, speed: Range) -> Range:
    """Quickest and slowest time for so many tokens."""
    return Range(tokens / speed.high / 3600, tokens / speed.low / 3600)


def _again(job: Job) -> float:
    """Share of the layers' products that is computed again in the backward pass."""
    if not job.checkpointing:
        return 0.0
    if job.arch.encoder:
        return 1.0
    sizes = {part: wide * out for part, (wide, out) in shapes(job.arch).items()}
    # Nothing of the last matrix is asked for again unless an adapter reads beside it.
    spared = sum(size for part, size in sizes.items() if part in job.saved and part in job.adapted)
    return 1 - spared * job.arch.layers / active_parameters(job.arch)


def _kind(job: Job) -> str:
    """Neither trains on 4-bit weights, which are unpacked on the way: what sets qlora apart."""
    return "lora" if job.method == "full" else job.method


def _share(probe: Probe) -> float:
    return probe.tokens_per_s * cost(probe.job) / (probe.tflops * 1e12 * probe.job.gpus)


def _apart(one: Job, other: Job) -> float:
    """How unlike two jobs are, in size of model and of pass."""
    sizes = (active_parameters(one.arch) / active_parameters(other.arch), one.tokens / other.tokens)
    return sum(abs(math.log(ratio)) for ratio in sizes)


def _published(job: Job, card: Hardware) -> tuple[float, float]:
    kind = "cpu" if card.device == "cpu" else card.capability
    return _SHARES.get((kind, _kind(job)), _ANY)
