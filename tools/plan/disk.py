"""What a run needs beside the card: disk for what it keeps, host memory for merging."""

from dataclasses import dataclass
from pathlib import Path

from tools.plan.job import Job
from tools.plan.memory import adapter_parameters, optimizer_state_bytes
from tools.recipe import footprint
from tools.recipe.arch import parameters, shapes
from tools.recipe.schema import Recipe

# Bytes a weight of the matrix that is being merged: four of its fp32 copies, and the file's own.
# Measured with a Llama of 1.16 GB: 0.3 GB at the most, the libraries' 0.15 included.
_MERGED = 20
_LIBRARIES = 0.15e9
_COMPARED = 0.6e9  # torch, transformers and bitsandbytes, once a model has computed


@dataclass(frozen=True)
class Disk:
    """Bytes on disk, by what lies there."""

    base: float
    checkpoints: float
    adapter: float
    merged: float
    quantized: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.base + self.checkpoints + self.adapter + self.merged + self.quantized


def disk(job: Job, recipe: Recipe) -> Disk:
    """What the whole chain keeps: the hub's copy of the base, and the run folder.

    Checkpoints (weights that are trained, with their optimizer states) are counted as many as
    ``train.save_total_limit`` keeps, and one more, for the new one is written before the oldest is
    removed. Without the limit all are kept, and one is counted.
    """
    trained, state = _trained(job)
    kept = (recipe.train.get("save_total_limit") or 0) + 1
    whole = float(parameters(job.arch) * job.compute_bytes)
    return Disk(
        base=0.0 if recipe.model.source == "local" else whole,
        checkpoints=kept * (trained + state),
        adapter=trained * (1 + _souped(recipe)),
        merged=whole,
        quantized=_quantized(job, recipe.quantize.format),
    )


def merge_memory(job: Job, recipe: Recipe) -> float:
    """Host memory of the merge, bytes: a matrix at a time, and the adapters in fp32, twice.

    Of a model that was trained whole there is no adapter. Without a card the model is there as
    well, whole, when its logits are compared.
    """
    arch, full = job.arch, job.method == "full"
    # Experts are copied as they are.
    largest = max(wide * out for wide, out in shapes(arch).values())
    largest = max(largest, arch.hidden * arch.vocab if job.trained_matrices or full else 0)
    trained: float = adapter_parameters(job) + job.trained_matrices * arch.vocab * arch.hidden
    trained += sum(_numbers(one.path) for one in recipe.merge.adapters.values() if one.path)
    whole = parameters(arch) * job.compute_bytes if recipe.hardware.device == "cpu" else 0
    return float(_LIBRARIES + _MERGED * largest + 8 * trained + whole)


def _numbers(adapter: str) -> float:
    """Most numbers that an adapter of a folder can have, which is of half precision then."""
    file = Path(adapter) / "adapter_model.safetensors"
    return file.stat().st_size / 2 if file.is_file() else 0.0


def quantize_memory(job: Job, recipe: Recipe) -> float:
    """Host memory of quantizing and its proof, bytes; 0 where nothing is quantized.

    bitsandbytes packs a matrix at a time on the card; of other quantizers the model is counted
    whole. Without a card it is here: first the quantized one, then to be compared the merged one,
    then the quantized one again, a layer unpacked at a time; beside them a row's logits, twice.
    """
    if recipe.quantize.format == "none":
        return 0.0
    arch = job.arch
    matrix = 4.0 * arch.hidden * max(arch.mlp, arch.vocab)
    places = job.answer if arch.encoder else job.sequence
    whole = float(parameters(arch) * job.compute_bytes)
    if recipe.hardware.device != "cpu":
        return _COMPARED + (matrix if recipe.quantize.format in ("nf4", "int8") else whole)
    # What the worker computes in there is fp32: the embeddings of the quantized one, too.
    packed = 0.0
    if recipe.quantize.format != "none":
        packed = footprint.weights(arch, recipe.quantize.format, 4)
    logits = 2.0 * 4 * places * arch.vocab
    return _COMPARED + max(whole, packed + matrix) + logits


def _trained(job: Job) -> tuple[float, float]:
    """Bytes of what is trained, and of its optimizer states."""
    if job.method == "full":
        count, size = parameters(job.arch), job.compute_bytes
    else:
        count, size = adapter_parameters(job), job.adapter_bytes
    whole = job.trained_matrices * job.arch.vocab * job.arch.hidden
    states = count * optimizer_state_bytes(job.optimizer, size)
    states += whole * optimizer_state_bytes(job.optimizer, job.compute_bytes)
    return float(count * size + whole * job.compute_bytes), states


def _souped(recipe: Recipe) -> int:
    """Adapters that lie there for a soup, beside the run's own, and the ranks of the mean."""
    soup = recipe.soup
    if soup is None:
        return 0
    kept = soup.checkpoints + soup.trials
    return kept + (1 + kept + len(soup.adapters) if soup.average == "product" else 1)


def _quantized(job: Job, name: str) -> float:
    return 0.0 if name == "none" else footprint.weights(job.arch, name, job.compute_bytes)
