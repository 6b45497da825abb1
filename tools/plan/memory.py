"""Peak memory of a training step in closed form: no torch, no download, microseconds.

The form, with ``tok`` = micro-batch x sequence length, bytes:

    weights + adapters + optimizer
    + with checkpointing     tok * 2 L H  +  tok * max(c V, one live layer)
    + without                tok * (L * everything a layer keeps  +  c V)
    + context

Under gradient checkpointing a layer keeps its input alone (2 H bytes) and is computed again in the
backward pass, one at a time. The logits are gone by then, so the larger of the two counts. What the
loss keeps of them, ``c`` bytes a token and word, is often most of the slope: see ``LOSS_BYTES``.

Sources: EleutherAI, "Transformer Math 101" (what training keeps); bitsandbytes (bytes of NF4);
peft.utils.other.prepare_model_for_kbit_training and axolotl.loaders.model (dtypes); torch.autograd
(what an operation saves). ``python -m tools plan --points FILE`` holds it against published runs.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from tools.recipe.schema import Architecture

Method = Literal["lora", "qlora", "full"]
Loss = Literal["hf", "chunked", "fused"]

# Bytes a token and word of the vocabulary that the loss keeps at its peak. hf: four fp32 copies
# (logits, their float or shifted copy, log-softmax, gradient) and a little: the slopes of Unsloth's
# table (128 k words, 2.47 MB a token) and LLaMA-Factory's (32 k words, 0.82 MB) both give 17.
# chunked: 16-bit logits, the chunks' gradients, and these joined: 2 bytes each
# (axolotl.monkeypatch.loss.chunked). fused: Cut-CE and Liger never hold the logits of all tokens.
LOSS_BYTES: dict[Loss, float] = {"hf": 17.0, "chunked": 6.0, "fused": 0.0}
# Of a linear weight. bitsandbytes: 4 bits, an absmax a block of 64 (fp32, or one byte with double
# quantization, whose own scales come a block of 256); LLM.int8: one byte.
NF4_DOUBLE, NF4, INT8 = 0.5 + 1 / 64 + 4 / (64 * 256), 0.5 + 4 / 64, 1.0
# CUDA's libraries and the allocator's odds and ends; 0.5 GB fits the published peaks.
CONTEXT = 0.5e9
FP32 = 4

# By target name, the parts of a layer it stands for; names of one file of modeling code.
_ATTENTION, _MLP = ("q", "k", "v", "o"), ("gate", "up", "down")
TARGETS: dict[str, tuple[str, ...]] = {
    "q_proj": ("q",),
    "k_proj": ("k",),
    "v_proj": ("v",),
    **dict.fromkeys(("o_proj", "out_proj", "output_proj", "dense", "attn.c_proj"), ("o",)),
    **dict.fromkeys(("query_key_value", "qkv_proj", "c_attn", "Wqkv", "W_pack"), ("qkv",)),
    **dict.fromkeys(("gate_proj", "w1"), ("gate",)),
    **dict.fromkeys(("up_proj", "w2", "fc1", "fc_in", "c_fc", "dense_h_to_4h"), ("up",)),
    "gate_up_proj": ("gate", "up"),
    **dict.fromkeys(("down_proj", "fc2", "fc_out", "dense_4h_to_h"), ("down",)),
    "c_proj": ("o", "down"),  # attention and feed-forward part both have one
}
ALL_LINEAR = (*_ATTENTION, *_MLP)

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
class Job:
    """All that the peak depends on.

    Attributes:
        arch: the model's numbers.
        method: what is trained: adapters (``qlora``: on a quantized base) or all weights.
        sequence: tokens of the longest row, packed or padded.
        micro_batch: rows a forward pass.
        rank: of the adapters.
        targets: parts of a layer with adapters, as in :data:`ALL_LINEAR`, or ``qkv`` in one.
        checkpointing: whether layers are computed again in the backward pass.
        loss: how the cross-entropy is computed.
        optimizer: Axolotl's name of it.
        offload: whether the saved layer inputs lie in host memory.
        base_bytes: of a frozen linear weight.
        embedding_bytes: of a weight of embedding and head; PEFT alone makes them fp32 under a
            quantized base.
        compute_bytes: of an activation, and of a weight that is trained whole.
        adapter_bytes: of an adapter's weight; PEFT makes them fp32.
        trained_matrices: embedding and head trained beside the adapters: 0, 1 or 2.
        dora: whether magnitudes are learnt, too.
        eager: whether attention keeps all its scores.
        accumulation: micro-batches a step.
        zero_stage: of DeepSpeed, 0 for none.
        gpus: cards that ZeRO parts the states over.
    """

    arch: Architecture
    method: Method
    sequence: int
    micro_batch: int
    rank: int = 0
    targets: tuple[str, ...] = ALL_LINEAR
    checkpointing: bool = True
    loss: Loss = "hf"
    optimizer: str = "adamw_torch"
    offload: bool = False
    base_bytes: float = 2.0
    embedding_bytes: int = 2
    compute_bytes: int = 2
    adapter_bytes: int = FP32
    trained_matrices: int = 0
    dora: bool = False
    eager: bool = False
    accumulation: int = 1
    zero_stage: int = 0
    gpus: int = 1

    @property
    def tokens(self) -> int:
        """Of one forward pass."""
        return self.sequence * self.micro_batch


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
    saved, at_the_loss = _activations(job), job.tokens * job.arch.vocab * LOSS_BYTES[job.loss]
    if job.checkpointing:
        live = job.tokens * _live_layer(job)
        saved, at_the_loss = saved + max(0.0, live - at_the_loss), at_the_loss
    gradients, states = _gradients(job), _states(job)
    if job.method == "full" and job.accumulation == 1:
        # Gradients come while activations go: only what is more than these adds to the peak.
        gradients = max(0.0, gradients - saved - at_the_loss)
    shards = job.gpus if job.zero_stage else 1
    return Peak(
        weights=weights(job) / (job.gpus if job.zero_stage >= 3 else 1),
        adapters=adapter_parameters(job) * job.adapter_bytes
        + _trained_whole(job) * job.compute_bytes * (job.method != "full"),
        optimizer=gradients / (shards if job.zero_stage >= 2 else 1) + states / shards,
        activations=saved,
        logits=at_the_loss,
        context=CONTEXT,
    )


def head_width(arch: Architecture) -> tuple[int, int]:
    """Width of all query heads, and of all key (or value) heads."""
    head = arch.head_dim or arch.hidden // arch.heads
    return head * arch.heads, head * arch.kv_heads


def shapes(arch: Architecture) -> dict[str, tuple[int, int]]:
    """Width of input and output of a layer's linear parts."""
    query, key = head_width(arch)
    hidden, mlp = arch.hidden, arch.mlp
    found = {"q": (hidden, query), "k": (hidden, key), "v": (hidden, key), "o": (query, hidden)}
    found |= {"gate": (hidden, mlp)} if arch.gated else {}
    return found | {"up": (hidden, mlp), "down": (mlp, hidden)}


def linear_parameters(arch: Architecture) -> int:
    """Weights of all layers' linear parts."""
    return arch.layers * sum(wide * out for wide, out in shapes(arch).values())


def embedding_parameters(arch: Architecture) -> int:
    """Weights of embedding and head; the one matrix when they are tied."""
    return arch.vocab * arch.hidden * (1 if arch.tied else 2)


def parameters(arch: Architecture) -> int:
    """All weights, without norms and biases (0.01 % of a 7B model)."""
    return linear_parameters(arch) + embedding_parameters(arch)


def weights(job: Job) -> float:
    """Bytes of the base model."""
    embeddings = embedding_parameters(job.arch) * job.embedding_bytes
    return linear_parameters(job.arch) * job.base_bytes + embeddings


def adapter_parameters(job: Job) -> int:
    """Weights of the adapters: rank x (input + output) of each target; DoRA adds the outputs."""
    if job.method == "full":
        return 0
    sizes = [job.rank * (wide + out) + (out if job.dora else 0) for wide, out in _adapted(job)]
    return job.arch.layers * sum(sizes)


def optimizer_state_bytes(optimizer: str, parameter_bytes: int) -> float:
    """Bytes of optimizer state a parameter."""
    name = optimizer.lower()
    for part, size in _STATES:
        if part in name:
            return size
    states = 1 if any(part in name for part in _ONE_STATE) else 2
    return float(states * parameter_bytes)


def _adapted(job: Job) -> list[tuple[int, int]]:
    """Input and output width of every target of a layer."""
    query, key = head_width(job.arch)
    known = {**shapes(job.arch), "qkv": (job.arch.hidden, query + 2 * key)}
    return [known[part] for part in job.targets if part in known]


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


def _activations(job: Job) -> float:
    """What the layers keep for the backward pass when the loss is reached, bytes."""
    if not job.checkpointing:
        return float(job.tokens * job.arch.layers * _kept_by_layer(job))
    if job.offload:
        return 0.0
    return float(job.tokens * job.arch.layers * job.arch.hidden * job.compute_bytes)


def _live_layer(job: Job) -> int:
    """The layer in work under checkpointing, bytes a token: its widths, each once."""
    arch, (_, key) = job.arch, head_width(job.arch)
    widths = 4 * arch.hidden + 2 * key + (3 if arch.gated else 2) * arch.mlp
    return widths * job.compute_bytes + _scores(job)


def _kept_by_layer(job: Job) -> int:
    """All that autograd saves of a layer, bytes a token.

    Norms keep an fp32 copy of their input; attention (flash or SDPA) its queries, keys, values and
    output; the feed-forward part the inputs of its product and activation. A frozen linear part
    keeps nothing, an adapter its input in its own type, a trained part its input. DoRA also keeps
    the base's output and the adapter's.
    """
    arch, size, (query, key) = job.arch, job.compute_bytes, head_width(job.arch)
    kept = 2 * FP32 * arch.hidden + size * (2 * query + 2 * key) + _scores(job)
    kept += size * (3 if arch.gated else 1) * arch.mlp
    if job.method == "full":  # inputs of attention, of the feed-forward part, of its last matrix
        return kept + size * (2 * arch.hidden + 2 * arch.hidden + arch.mlp)
    kept += sum(wide * job.adapter_bytes for wide, _ in _adapted(job))
    if job.dora:
        kept += sum(out * (size + job.adapter_bytes) for _, out in _adapted(job))
    return kept


def _scores(job: Job) -> int:
    """Attention scores that eager attention keeps, fp32 and cast back, bytes a token."""
    return job.arch.heads * job.sequence * (FP32 + job.compute_bytes) if job.eager else 0
