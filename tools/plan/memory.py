"""Peak memory of a training step in closed form: no torch, no download, microseconds.

The form, with ``tok`` = micro-batch x sequence length, bytes:

    weights + adapters + optimizer
    + tok * what all layers keep until the backward pass
    + the larger of  the loss with the last norm,  one layer in its own backward pass
    + context

Under gradient checkpointing a layer keeps its input (2 H bytes), and what selective checkpointing
saves of it, and is computed again in the backward pass, one at a time. The loss's logits are gone
by then. Without, it keeps all that ``layer.kept`` counts. What the loss holds of them, see
``loss_bytes``, is often most of the slope.

Sources: torch.autograd and the modules named in ``layer.py`` (what is kept); bitsandbytes (bytes of
NF4); accelerate.utils.operations.convert_outputs_to_fp32, axolotl.monkeypatch.loss.chunked and
liger_kernel.ops (the losses); peft.utils.other.prepare_model_for_kbit_training and
axolotl.loaders.model (dtypes). ``python -m tools plan --points FILE`` holds it against runs.
"""

import dataclasses
from dataclasses import dataclass

from tools.plan import layer, sides
from tools.plan.job import FP32, Job
from tools.recipe.arch import (
    embedding_parameters,
    packed_parameters,
    parameters,
)

# CUDA's libraries and the allocator's odds and ends; 0.5 GB fits the published peaks.
CONTEXT = 0.5e9

# Bytes a token and word of the vocabulary that the loss holds at its peak, in 16-bit training.
# hf: fp32 log-probabilities and two fp32 gradients of them (before, 16-bit logits, fp32 logits and
# the fp32 copy that accelerate makes of a model's outputs are 10). hf_2024: transformers before
# 4.45, which handed out fp32 logits and copied them to shift them; the slopes of Unsloth's table
# (128 k words) and LLaMA-Factory's (32 k words) both give 16.5. chunked: 16-bit logits and
# accelerate's copy; then logits, the chunks' gradients, and these joined. liger: logits in 16 bit,
# their fp32 copy, in which the gradient comes, accelerate's copy.
LOSS_BYTES = {"hf": 12.0, "hf_2024": 16.5, "chunked": 6.0, "liger": 10.0}

# Bytes of optimizer state a parameter, by a part of its name, first match; what is not named keeps
# two states of the parameter's own type, as torch's AdamW does.
_STATES: tuple[tuple[str, float], ...] = (
    ("lomo", 0.0),
    ("adafactor", 0.1),  # a row and a column of each matrix
    ("lion_8bit", 1.0),
    ("4bit", 1.0),
    ("8bit", 2.0),
    ("fp8", 2.0),
    ("lion_32bit", 4.0),
    ("32bit", 8.0),
)
_ONE_STATE = ("sgd", "lion", "muon", "adagrad", "rmsprop")


@dataclass(frozen=True)
class Peak:
    """Bytes, by what they are for."""

    weights: float
    adapters: float
    optimizer: float
    activations: float
    logits: float
    context: float

    @property
    def total(self) -> float:
        """The peak."""
        return sum(dataclasses.astuple(self))


def peak(job: Job) -> Peak:
    """The parts of the largest moment of a training step on one card, bytes."""
    held = sides.held(job) if job.arch.encoder else _held(job)
    at_the_loss = held.loss
    saved = held.stored + max(held.tail, held.live - at_the_loss)
    gradients, states = _gradients(job), _states(job)
    if job.method == "full" and job.accumulation == 1:
        # Gradients come while activations go: only what is more than these adds to the peak.
        gradients = max(0.0, gradients - saved - at_the_loss)
    shards = job.gpus if job.zero_stage else 1
    if job.gpus > 1 and not job.zero_stage:
        # DDP sends them in buckets of its own (torch's gradient_as_bucket_view is off).
        gradients *= 2
    return Peak(
        weights=_weights_held(job),
        adapters=adapter_parameters(job) * job.adapter_bytes
        + _trained_whole(job) * job.compute_bytes * (job.method != "full"),
        optimizer=gradients / (shards if job.zero_stage >= 2 else 1) + states / shards,
        activations=saved,
        logits=at_the_loss,
        context=CONTEXT,
    )


def _held(job: Job) -> sides.Held:
    """The same of a decoder."""
    return sides.Held(
        stored=job.tokens * _stored(job),
        tail=job.tokens * (layer.norm(job) + job.compute_bytes * job.arch.hidden),
        live=job.tokens * _live(job) + layer.unpacked(job),
        loss=loss_bytes(job),
    )


def loss_bytes(job: Job) -> float:
    """What a decoder's loss holds at its own peak, bytes."""
    size, arch = job.compute_bytes, job.arch
    if job.loss == "fused":  # Cut-CE never holds logits of all tokens: the gradient of its input
        return float(job.tokens * size * arch.hidden)
    if job.loss == "liger_fused":
        return float(size * (job.tokens * arch.hidden + _liger_chunk(job) * arch.vocab))
    words = LOSS_BYTES[job.loss]
    if job.loss == "chunked":
        # Chunks along the rows of several are no view, so each is copied; in fp32 nothing else is
        # wider than logits, gradients, and these joined.
        words = 3.0 * FP32 if size == FP32 else words + (2.0 if job.micro_batch > 1 else 0.0)
    return job.tokens * arch.vocab * words


def _weights_held(job: Job) -> float:
    """Bytes of the base on a card: all, or under stage 3 its share and what is gathered at a time.

    That is the layer in work and the next one, and embedding and head: FSDP2 keeps what belongs to
    no layer from the forward pass on until it is over, and ZeRO-3 much like it.
    """
    whole = weights(job)
    if job.zero_stage < 3:
        return whole
    one = _layers(job) / job.arch.layers
    gathered = 2 * one + embedding_parameters(job.arch) * job.embedding_bytes
    return whole / job.gpus + min(gathered, whole) * (1 - 1 / job.gpus)


def _liger_chunk(job: Job) -> int:
    """Tokens whose logits Liger holds at a time (ops.fused_linear_cross_entropy)."""
    pieces = -(-job.arch.vocab // job.arch.hidden)
    return min(job.tokens, 1 << (-(-job.tokens // pieces) - 1).bit_length())


def weights(job: Job) -> float:
    """Bytes of the base model."""
    return _layers(job) + embedding_parameters(job.arch) * job.embedding_bytes


def _layers(job: Job) -> float:
    """Bytes of all layers; experts and T5's ``wo`` are whole, whatever the base is quantized to."""
    packed, arch = packed_parameters(job.arch), job.arch
    whole = parameters(arch) - embedding_parameters(arch) - packed
    return packed * job.base_bytes + whole * job.compute_bytes


def adapter_parameters(job: Job) -> int:
    """Weights of the adapters: rank x (input + output) of each target; DoRA adds the outputs."""
    if job.arch.encoder:
        return sides.adapter_parameters(job)
    sizes = [
        job.rank * (wide + out) + (out if job.dora else 0) for wide, out in job.adapted.values()
    ]
    return job.arch.layers * sum(sizes)


def optimizer_state_bytes(optimizer: str, parameter_bytes: int) -> float:
    """Bytes of optimizer state a parameter."""
    name = optimizer.lower()
    for part, size in _STATES:
        if part in name:
            return size
    states = 1 if any(part in name for part in _ONE_STATE) else 2
    return float(states * parameter_bytes)


def _trained_whole(job: Job) -> int:
    """Parameters that are trained themselves, not by an adapter."""
    if job.method == "full":
        return parameters(job.arch)
    return job.trained_matrices * job.arch.vocab * job.arch.hidden


def _gradients(job: Job) -> float:
    if "lomo" in job.optimizer:  # used up layer by layer
        return 0.0
    adapters = adapter_parameters(job) * job.adapter_bytes
    return adapters + float(_trained_whole(job) * job.compute_bytes)


def _states(job: Job) -> float:
    """Optimizer states, bytes."""
    adapters = adapter_parameters(job) * optimizer_state_bytes(job.optimizer, job.adapter_bytes)
    whole = _trained_whole(job) * optimizer_state_bytes(job.optimizer, job.compute_bytes)
    return adapters + whole


def _stored(job: Job) -> float:
    """What all layers keep until the backward pass begins, bytes a token."""
    if not job.checkpointing:
        return job.arch.layers * layer.kept(job)
    inputs = 0 if job.offload else job.arch.hidden * job.residual_bytes
    return job.arch.layers * (inputs + layer.saved(job))


def _live(job: Job) -> float:
    """What the last layer's backward pass adds to it, bytes a token."""
    return layer.live(job) - (0.0 if job.checkpointing else layer.kept(job))
