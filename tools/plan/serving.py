"""Every format that a model may be served in: disk, memory with so many clients, time to make.

Time to make is what making it took others, by its weights, and the gate, in which both models go
over the held-out rows. Published, of Llama-3.1-8B on one GPU (derekl35/quantization-benchmarks, a
data set of the hub): NF4 1 minute, torchao 20 seconds, AWQ 10 and GPTQ 30 minutes. On a CPU, and
of the GGUF types, the rates are guesses that no run has confirmed yet.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tools.plan.job import Job
from tools.plan.speed import TOKENS_A_ROW
from tools.recipe import footprint
from tools.recipe.arch import packed_parameters, parameters
from tools.recipe.formats import FORMATS, GGUF, made_of, runs
from tools.recipe.schema import Recipe

CLIENTS = (1, 8)  # and serve.max_batch
# Seconds a 10^9 linear weights, by tool: on a card, and on two cores of a CPU.
_ON_A_CARD = {"bitsandbytes": 60 / 8, "axolotl": 20 / 8, "llm-compressor": 30 * 60 / 8}
_ON_A_CPU = {"bitsandbytes": 30.0, "axolotl": 60.0, "llm-compressor": 9000.0, "llama.cpp": 60.0}
# Of the peak of training, the share that a forward pass over one row at a time reaches.
_SHARE = 0.3
_GB = 1e9


@dataclass(frozen=True)
class Offer:
    """One format for this model on this card.

    Attributes:
        name: of the format.
        chosen: whether it is the recipe's.
        disk: bytes.
        memory: bytes by number of clients, each with a full context.
        seconds: to make it and hold it against the merged model.
        unpacked: whether the worker unpacks it as it loads.
        tool: what makes it.
    """

    name: str
    chosen: bool
    disk: float
    memory: dict[int, float]
    seconds: float
    unpacked: bool
    tool: str


def offers(recipe: Recipe, job: Job) -> list[Offer]:
    """The formats that the card serves, finest first, then those of llama.cpp."""
    card = recipe.hardware
    able = [one for one in card.quantize_formats if runs(one, card.device, card.capability)]
    listed = [name for name in FORMATS if name in able or name in GGUF]
    ordered = [name for name in listed if made_of(name, recipe.model.kind)]
    return [_offer(recipe, job, name) for name in ordered]


def _offer(recipe: Recipe, job: Job, name: str) -> Offer:
    clients = sorted({*CLIENTS, recipe.serve.max_batch})
    return Offer(
        name=name,
        chosen=name == recipe.quantize.format,
        disk=footprint.weights(job.arch, name, job.compute_bytes),
        memory={n: footprint.serving(recipe, job.arch, name, n) for n in clients},
        seconds=seconds(recipe, job, name),
        unpacked=footprint.unpacks(recipe, name),
        tool=FORMATS[name].tool,
    )


def seconds(recipe: Recipe, job: Job, name: str) -> float:
    """To make a format and compare it; 0 for none, which is not made."""
    tool, cpu = FORMATS[name].tool, recipe.hardware.device == "cpu"
    if not tool:
        return 0.0
    rates = _ON_A_CPU if cpu or tool == "llama.cpp" else _ON_A_CARD
    passes = forward(recipe, job, 2 * recipe.quantize.perplexity_rows)
    # Rounded to nearest, no rows are looked at: as quick as torchao.
    rate = rates["axolotl" if tool == "llm-compressor" and not FORMATS[name].rows else tool]
    return rate * packed_parameters(job.arch) / 1e9 + passes


def forward(recipe: Recipe, job: Job, rows: int) -> float:
    """Seconds that the model takes to go over so many rows, one at a time."""
    work = rows * TOKENS_A_ROW * 2 * parameters(job.arch)
    return work / (_SHARE * recipe.hardware.tflops * 1e12)


def render(found: list[Offer], recipe: Recipe) -> list[str]:
    """A table; the recipe's own format is marked."""
    clients = list(found[0].memory) if found else []
    context = min(recipe.serve.context, recipe.model.context)
    heads = "".join(f"{n:>8}" for n in clients)
    numbers = ", ".join(map(str, clients))
    lines = [
        f"formats: GB on the disk; GiB to serve {numbers} clients of {context:,} tokens; to make",
        f"  {'':<12}{'disk':>8}{heads}{'make':>10}",
    ]
    lines += [_row(one, recipe) for one in found]
    if recipe.quantize.chosen:
        lines.append(f"  * quantize.format auto takes {recipe.quantize.chosen}")
    return lines


def _row(one: Offer, recipe: Recipe) -> str:
    sizes = "".join(f"{size / 2**30:>8.1f}" for size in one.memory.values())
    mark = "*" if one.chosen else " "
    note = "; ".join(_notes(one, recipe))
    head = f"{mark} {one.name:<12}{one.disk / _GB:>8.2f}{sizes}{_time(one.seconds):>10}"
    return f"{head}   {note}".rstrip()


def _notes(one: Offer, recipe: Recipe) -> Iterator[str]:
    if one.chosen:
        yield "quantize.format"
    if one.tool == "llama.cpp":
        yield f"make export TYPE={one.name}"
    elif one.tool:
        yield one.tool
    if one.unpacked:
        cpu = recipe.hardware.device == "cpu"
        yield "unpacked on a CPU" if cpu else f"unpacked by {recipe.serve.engine}"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds else "-"
    return f"{seconds / 60:.0f} min"


def as_json(found: list[Offer]) -> list[dict[str, Any]]:
    """The same for programs: bytes and seconds."""
    return [
        {
            **asdict(one),
            "disk": round(one.disk),
            "memory": {str(n): round(size) for n, size in one.memory.items()},
        }
        for one in found
    ]
