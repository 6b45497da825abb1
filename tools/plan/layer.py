"""What one layer keeps for the backward pass, bytes a token: read off the modules that compute it.

``s`` is the type of computing (2 bytes under autocast), H, M, Q, K the widths of the residual
stream, the feed-forward part, all query heads and all key heads. Sources, transformers 5.20, peft
0.21, axolotl 0.21, liger-kernel 0.8:

- RMSNorm (modeling_llama, modeling_mistral): an fp32 copy of its input, 4 H. Liger's
  (ops.rms_norm): the input itself, ``s`` H.
- attention by SDPA or torch's varlen kernel: queries, keys, values, output, and an fp32 sum a head.
- Axolotl's LoRA kernels (kernels.lora, ctx.save_for_backward): the input, once for q, k and v
  together; with dropout also the dropped input and its mask. Of a gated feed-forward part gate and
  up: the product is computed again. With DoRA every output before its magnitude.
- PEFT's own layers: bitsandbytes' take the input as it is; on 16-bit weights each target casts its
  input to the adapter's fp32, which autocast casts back: a copy a target. So is dropout.
- SiLU keeps its input, the product both its factors: 3 M. Liger's (ops.swiglu): gate and up, 2 M.
- A frozen matrix keeps nothing, rotary embeddings their cosines alone, whoever computes them.

Tests hold the sums against what autograd saves of tiny models.
"""

from tools.plan.job import FP32, Job
from tools.recipe.arch import head_width, mlp_width, shapes

_QKV, _O, _UP, _DOWN = ("q", "k", "v", "qkv"), ("o",), ("gate", "up"), ("down",)


def kept(job: Job) -> float:
    """All that autograd saves of a layer, bytes a token."""
    arch, size, (query, key) = job.arch, job.compute_bytes, head_width(job.arch)
    total = 2 * norm(job) + size * (2 * query + 2 * key) + FP32 * arch.heads + _scores(job)
    if job.method == "full":
        # Both norms' inputs to their weights, and the inputs of all matrices.
        inputs = 2 * arch.hidden + 2 * arch.hidden + mlp_width(arch)
        return total + size * inputs + _activation(job) + _experts(job)
    total += _inputs(job, _QKV, arch.hidden, "qkv", shared=False)
    total += _inputs(job, _O, query, "o", shared=True)  # attention's output, which it keeps itself
    total += _inputs(job, _UP, arch.hidden, "mlp", shared=False)
    if "mlp" not in job.kernels:
        # bitsandbytes' layer shares the product with nobody: neither factor is it.
        width = arch.shared_mlp if arch.experts else arch.mlp
        total += _inputs(job, _DOWN, width, "", shared=False)
    return total + _activation(job) + _experts(job) + _magnitudes(job)


def norm(job: Job) -> float:
    """What a norm keeps, bytes a token."""
    copy = job.residual_bytes if "rms_norm" in job.liger else FP32
    return float(copy * job.arch.hidden)


def saved(job: Job) -> float:
    """What selective checkpointing keeps of a layer beside its input, bytes a token."""
    if job.saved_offload:
        return 0.0
    size = job.compute_bytes
    total = sum(size * out for part, (_, out) in shapes(job.arch).items() if part in job.saved)
    return float(total + (_attention(job) if "attention" in job.saved else 0))


def live(job: Job) -> float:
    """A layer in its own backward pass: what it keeps, and the gradients at its widest.

    That is in the feed-forward part: the gradient of its product (in place of which come those of
    gate and up, with a kernel), of its input and output; where PEFT casts, an fp32 one of the
    product, too.
    """
    arch, size = job.arch, job.compute_bytes
    in_place = "mlp" in job.kernels or "glu" in job.liger
    wide = size * mlp_width(arch) * (1 if in_place or not arch.gated else 3)
    if _casts(job) and "down" in job.adapted and "mlp" not in job.kernels:
        wide += FP32 * mlp_width(arch)
    gradients = wide + size * (3 if job.dropout else 2) * arch.hidden
    # It is there already, unless it comes back from host memory.
    twice = _attention(job) if "attention" in job.saved and not job.saved_offload else 0
    return kept(job) + gradients - twice


def unpacked(job: Job) -> float:
    """Bytes of the one matrix that a quantized base has in 16 bit at a time."""
    if job.base_bytes >= job.compute_bytes:
        return 0.0
    return float(job.compute_bytes * max(wide * out for wide, out in shapes(job.arch).values()))


def _attention(job: Job) -> float:
    """Attention's output and its sums, bytes a token."""
    return float(job.compute_bytes * head_width(job.arch)[0] + FP32 * job.arch.heads)


def _inputs(job: Job, parts: tuple[str, ...], width: int, kernel: str, shared: bool) -> float:
    """What adapters on parts of the same input keep of it, bytes a token.

    Args:
        job: what is trained.
        parts: that read the input.
        width: of it.
        kernel: Axolotl's name of the kernel that may compute them.
        shared: whether another keeps the input in the type of computing already.
    """
    count, size = sum(part in parts for part in job.adapted), job.compute_bytes
    if not count and kernel not in job.kernels:
        return 0.0
    dropped = (size + job.mask_bytes) * width if job.dropout else 0
    once = 0 if shared else size * width
    if kernel in job.kernels:
        return float(once + dropped)
    low = count * size * job.rank  # of A, which B reads
    if job.dropout:
        return float(count * dropped + low)
    return float((count * size * width if _casts(job) else once) + low)


def _casts(job: Job) -> bool:
    """Whether PEFT's own layers cast their input to the adapter's type: bitsandbytes' do not."""
    return job.adapter_bytes != job.compute_bytes and job.base_bytes >= job.compute_bytes


def _activation(job: Job) -> float:
    """Of the feed-forward part between its matrices, bytes a token."""
    width = mlp_width(job.arch)
    if not job.arch.gated:
        return float(job.compute_bytes * width)
    factors = 2 if "mlp" in job.kernels or "glu" in job.liger else 3
    return float(factors * job.compute_bytes * width)


def _experts(job: Job) -> float:
    """Of a choice among experts: their outputs before the weights, scores, places; bytes a token.

    (transformers.integrations.moe, grouped_mm_experts_forward.)
    """
    arch = job.arch
    if not arch.experts:
        return 0.0
    outputs = arch.experts_used + (arch.shared_mlp > 0)
    places = 4 * 8 * arch.experts_used  # where each is gathered from and put to, in int64
    return float(job.compute_bytes * outputs * arch.hidden + FP32 * arch.experts + places)


def _magnitudes(job: Job) -> float:
    """DoRA's: the outputs before the magnitude; in PEFT's layers the base's and the adapter's."""
    if not job.dora:
        return 0.0
    outputs = sum(out for _, out in job.adapted.values())
    return float(outputs * (job.compute_bytes if job.kernels else job.compute_bytes + FP32))


def _scores(job: Job) -> int:
    """Attention scores that eager attention keeps, fp32 and cast back, bytes a token."""
    return job.arch.heads * job.sequence * (FP32 + job.compute_bytes) if job.eager else 0
