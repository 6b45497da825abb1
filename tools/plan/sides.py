"""Models with an encoder: what a step holds and computes, side by side with ``layer.py``.

Tokens are of two kinds: those of prompts, which the encoder reads, and those of answers, which the
decoder writes or masks stand for. Only these have logits: a trainer gathers the places of masks
before the head, and a decoder's rows are answers alone. A decoder's keys and values of the prompt
are of the prompt's tokens.

What is kept for the backward pass is read off transformers' modules as in ``layer.py``, beside:

- a norm keeps its input, fp32, and its output; dropout a mask behind each part of a layer.
- torch's attention with dropout keeps all scores on a CPU, and none on a card.
- DeBERTa's attention is its own: scores of S squared a head, wherever it computes.

Tests hold the sums against what autograd saves of tiny models.
"""

from dataclasses import dataclass

from tools.plan.job import FP32, Job
from tools.recipe.stacks import EAGER, Linear, encoder_of, linears

LOGITS = 12.0  # bytes a place and word, as ``memory.LOSS_BYTES`` has it for transformers' own loss
_CROSS = "cross"


@dataclass(frozen=True)
class Held:
    """Bytes at the moments that may be a step's peak.

    Attributes:
        stored: what all layers keep until the backward pass begins.
        tail: beside it, with the loss: the last norm's.
        live: beside it, in the backward pass of one layer.
        loss: what the loss holds.
    """

    stored: float
    tail: float
    live: float
    loss: float


def held(job: Job) -> Held:
    """What is held beside the weights."""
    arch = job.arch
    sides = {"encoder": arch.layers, "decoder": encoder_of(arch).decoder_layers}
    kept = {side: _kept(job, side) for side, layers in sides.items() if layers}
    if job.checkpointing:
        inputs = 0.0 if job.offload else float(arch.hidden * job.residual_bytes)
        stored = sum(sides[side] * inputs * tokens(job, side) for side in kept)
    else:
        stored = sum(sides[side] * size for side, size in kept.items())
    again = max(kept.values()) if job.checkpointing else 0.0
    wide = job.compute_bytes * (3 * arch.mlp if arch.gated else arch.mlp) + 2 * FP32 * arch.hidden
    longest = max(tokens(job, side) for side in kept)
    return Held(
        stored=stored,
        tail=float(longest * arch.hidden * (FP32 + job.compute_bytes)),
        live=again + longest * wide + _unpacked(job),
        loss=places(job) * arch.vocab * LOGITS,
    )


def checkpoints(job: Job) -> bool:
    """Whether transformers computes the model's layers again: ALBERT's it does not."""
    return job.causal or encoder_of(job.arch).type != "albert"


def tokens(job: Job, side: str) -> int:
    """Of one forward pass, of ``encoder`` or ``decoder``."""
    return job.micro_batch * (job.answer if side == "decoder" else job.sequence)


def places(job: Job) -> int:
    """Tokens whose logits are computed: of an encoder's rows one each, which is masked."""
    return tokens(job, "decoder") if encoder_of(job.arch).decoder_layers else job.micro_batch


def adapted(job: Job) -> list[Linear]:
    """The layers with an adapter."""
    if job.method == "full":
        return []
    return [one for one in linears(job.arch) if one.name in job.targets]


def adapter_parameters(job: Job) -> int:
    """Weights of the adapters; layers that are one have one."""
    return sum(
        one.stored * (job.rank * (one.wide + one.out) + (one.out if job.dora else 0))
        for one in adapted(job)
    )


def flops_per_token(job: Job, passes: float) -> float:
    """Floating-point operations a token of the prompts takes, its part of an answer included.

    Args:
        job: what is trained.
        passes: through every weight.
    """
    arch = job.arch
    share = {"encoder": 1.0, _CROSS: 1.0, "decoder": job.answer / job.sequence, "mask": 0.0}
    share["mask"] = places(job) / tokens(job, "encoder")
    width = encoder_of(arch).embedding or arch.hidden
    head = share["mask"] * arch.vocab * width
    products = sum(share[one.side] * one.computed * one.wide * one.out for one in linears(arch))
    return 2.0 * passes * (products + head)


def _kept(job: Job, side: str) -> float:
    """All that autograd saves of a layer, bytes of a pass."""
    arch, size = job.arch, job.compute_bytes
    crossed = side == "decoder"
    inner = (arch.head_dim or arch.hidden // arch.heads) * arch.heads
    own = job.answer if crossed else job.sequence
    each = _norms(job, 3 if crossed else 2) + _activation(job) + _dropped(job, crossed)
    # Queries, keys, values, output, and an fp32 sum a head; of a decoder twice.
    each += size * 4 * inner + FP32 * arch.heads + _scores(job, own)
    if crossed:
        each += size * 2 * inner + FP32 * arch.heads + _scores(job, job.sequence)
    each += sum(_input(job, one) for one in _of(job, side))
    total = tokens(job, side) * each + _positions(job)
    if crossed:
        keys = size * 2 * inner + sum(_input(job, one) for one in _of(job, _CROSS))
        total += tokens(job, "encoder") * keys
    return total


def _of(job: Job, side: str) -> list[Linear]:
    """A layer's linear parts that read a side's tokens; what is beside the layers is not here."""
    arch = job.arch
    depth = arch.layers if side == "encoder" else encoder_of(arch).decoder_layers
    beside = ("pos_proj", "pos_q_proj")  # read positions, not tokens
    return [
        one
        for one in linears(arch)
        if one.side == side and one.computed == depth and one.name not in beside
    ]


def _input(job: Job, one: Linear) -> float:
    """What an adapter keeps of a layer's input beside the input itself, bytes a token."""
    size = job.compute_bytes
    if job.method == "full" or one.name not in job.targets:
        return 0.0
    low = size * job.rank
    casts = job.adapter_bytes != size and job.base_bytes >= size
    if job.dropout:
        return float((size + job.mask_bytes) * one.wide + low)
    return float((size * one.wide if casts else 0) + low)


def _norms(job: Job, count: int) -> float:
    """Inputs and outputs of norms, which the next layer reads; T5's also what its weight scales."""
    scaled = encoder_of(job.arch).type == "t5" and job.method == "full"
    copies = FP32 + job.compute_bytes * (2 if scaled else 1)
    return float(count * copies * job.arch.hidden)


def _activation(job: Job) -> float:
    """Between the matrices of the feed-forward part: input and output of the function.

    T5's has a dropout of its own; gated it is tanh's approximation of GELU, made of eight products.
    """
    factors = 2 + (encoder_of(job.arch).type == "t5") if not job.arch.gated else 8
    return float(factors * job.compute_bytes * job.arch.mlp)


def _dropped(job: Job, crossed: bool) -> float:
    """Masks behind the parts of a layer; the published models' dropout is 0.1."""
    return float(job.mask_bytes * job.arch.hidden * (3 if crossed else 2))


def _scores(job: Job, keys: int) -> float:
    """Of attention that keeps its scores for so many keys, bytes a token.

    Probabilities, their mask and what it leaves; of DeBERTa the scores of positions before they are
    gathered, too, and where from.
    """
    arch, encoder = job.arch, encoder_of(job.arch)
    if encoder.type in EAGER:
        wide = 3 * keys + 2 * _distances(job)
        return float(FP32 * arch.heads * wide + 2 * 8 * keys)
    return float(3 * FP32 * arch.heads * keys) if job.eager else 0.0


def _positions(job: Job) -> float:
    """Of DeBERTa's relative positions, bytes a layer: keys and queries; v1 drops some anew."""
    arch, encoder = job.arch, encoder_of(job.arch)
    if encoder.type not in EAGER:
        return 0.0
    anew = 2 if job.method == "full" else 1
    rows = 4 * _distances(job) + (anew * encoder.relative if encoder.type == "deberta" else 0)
    return float(job.compute_bytes * rows * arch.hidden)


def _distances(job: Job) -> int:
    """Relative positions that a row's tokens can have."""
    return min(encoder_of(job.arch).relative, 2 * job.sequence)


def _unpacked(job: Job) -> float:
    """Bytes of the one matrix that a quantized base has in 16 bit at a time."""
    if job.base_bytes >= job.compute_bytes:
        return 0.0
    return float(job.compute_bytes * max(one.wide * one.out for one in linears(job.arch)))
