"""``python -m benchmarks.card`` (``make bench-card``): what only an NVIDIA card can tell.

Attention first: packed rows by torch's variable-length kernel, by one call a document, and by a
mask of the packed length squared: the same numbers, at what time and memory? Then the card recipes
on Mistral-7B's shape with random weights: as shipped and as `make plan` proposes, each with torch's
memory capped to what the recipe's own card has. Measured beside predicted, tokens a second side by
side.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks import random_model
from tools.console import say
from tools.plan import probe, probes
from tools.plan.memory import CONTEXT
from tools.plan.speed import flops_per_token
from tools.plan.verdict import GIB, Plan, plan
from tools.recipe.load import load

#: Recipes whose card is stood in for, the smallest first: what fits there fits the next, too.
CARDS = ("4090", "a100")
#: Seconds for each of them: model, shipped and proposed.
SECONDS = 200.0
#: Issue "A real card in two commands": times the shipped recipe's tokens/s; share of the peak that
#: NeMo AutoModel published for LoRA on an 8B model.
GAIN, SHARE = 1.35, 0.85 * 0.41
#: Of the attention table: tokens of a pack, mean of a document, and Mistral-7B's heads.
PACK, HEADS, KV_HEADS, WIDTH = 8192, 32, 8, 128
MEANS, WINDOWS = (150, 2048), (0, 4096)
REPEATS = 5


@dataclass(frozen=True)
class Row:
    """One kind of attention on one pack.

    Attributes:
        kind: its name.
        mean: tokens of a document, on average.
        window: keys a token sees; 0 for all.
        milliseconds: forward and backward.
        peak_gib: what it allocated on the way.
        error: largest difference to one call a document, of outputs of size 1.
    """

    kind: str
    mean: int
    window: int
    milliseconds: float
    peak_gib: float
    error: float


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.card", description=__doc__)
    parser.add_argument("--cards", nargs="*", default=list(CARDS), choices=CARDS)
    parser.add_argument("--shape", choices=random_model.SHAPES, default="mistral-7b")
    parser.add_argument("--runs", type=Path, help="keep the probes here (default: nowhere)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args(words)


def positions(length: int, mean: int, seed: int = 0) -> list[int]:
    """Position ids of a pack: documents of 1 to twice ``mean`` tokens, until it is full."""
    draw, found = random.Random(seed), list[int]()
    while len(found) < length:
        found += range(min(draw.randint(1, 2 * mean), length - len(found)))
    return found


def fraction(recipe_gib: float, card_bytes: int) -> float:
    """Share of a card's memory that stands for another card's."""
    return min(1.0, recipe_gib * GIB / card_bytes)


def overrides(folder: Path) -> list[str]:
    """What makes a card recipe train the random model."""
    model = {
        # Its id stays, or nothing of the recipe's model would count, its shape least of all.
        "source": "local", "path": folder, "revision": "",
        "bos": "", "eos": random_model.EOS, "pad": random_model.PAD,
    }  # fmt: skip
    return [f"model.{key}='{value}'" for key, value in model.items()]


def table(planned: Plan, made: Sequence[probe.Trial], peak: float) -> tuple[str, list[str]]:
    """Measured beside predicted of one recipe, and how far the targets are met.

    Args:
        planned: the recipe as shipped.
        made: it first, then what is proposed.
        peak: bf16 peak of the card that measured, TFLOP/s.
    """
    head = ["setting", "GiB predicted", "measured", "off", "tokens/s predicted", "measured",
            "x shipped", "share of peak"]  # fmt: skip
    shipped = made[0].speed if made else 0.0
    lines = []
    for one in made:
        name = one.settings or f"{planned.recipe.name} as shipped"
        wanted = (one.plan.peak.total - CONTEXT) / GIB
        low, high = one.plan.speed.low, one.plan.speed.high
        line: list[str] = [name, f"{wanted:.1f}"]
        if one.measured is None:
            lines.append([*line, "failed", "", f"{low:,.0f} to {high:,.0f}", "", "", ""])
            continue
        real = one.measured.peak / GIB
        gain = f"{one.speed / shipped:.2f}" if shipped else ""
        lines.append([*line, f"{real:.1f}", f"{wanted / real - 1:+.0%}",
                      f"{low:,.0f} to {high:,.0f}", f"{one.speed:,.0f}", gain,
                      f"{_share(one, peak):.0%}"])  # fmt: skip
    return tabulate(lines, head, tablefmt="github", disable_numparse=True), targets(made, peak)


def targets(made: Sequence[probe.Trial], peak: float) -> list[str]:
    """The proposed recipe's goals, met or not."""
    best = max(made[1:], key=lambda one: one.speed, default=None)
    if best is None or not best.speed:
        return ["proposed: not measured"]
    gain = best.speed / made[0].speed if made[0].speed else 0.0
    share = _share(best, peak)
    return [
        f"proposed / shipped: {gain:.2f}, target {GAIN}: {_met(gain >= GAIN)}",
        f"share of the bf16 peak: {share:.1%}, target {SHARE:.1%}: {_met(share >= SHARE)}",
        f"fits under its cap: {_met(best.fits)}",
    ]


def _share(one: probe.Trial, peak: float) -> float:
    return one.speed * flops_per_token(one.plan.job) / (peak * 1e12)


def _met(holds: bool) -> str:
    return "met" if holds else "NOT MET"


def attention_rows() -> list[Row]:
    """Every kind on every pack, on the card."""
    return [row for mean in MEANS for window in WINDOWS for row in _one_pack(mean, window)]


def _one_pack(mean: int, window: int) -> list[Row]:
    import torch

    from tools.axolotl import packed_attention as packed

    where = torch.tensor([positions(PACK, mean)], device="cuda")
    documents, shape = packed.Documents(where), (PACK, HEADS, WIDTH)
    torch.manual_seed(0)
    query = torch.randn(shape, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    key, value = (
        torch.randn(
            (PACK, KV_HEADS, WIDTH), device="cuda", dtype=torch.bfloat16, requires_grad=True
        )
        for _ in range(2)
    )
    kinds: dict[str, Callable[[], Any]] = {
        "a call a document": lambda: packed._one_by_one(
            query, key, value, documents, None, window or None, 0.0
        ),
        "variable-length kernel": lambda: packed._by_kernel(
            query, key, value, documents, None, window or None, 0.0
        ),
        "mask": lambda: masked(query, key, value, where[0], window),
    }
    plain = kinds["a call a document"]().detach()
    found = []
    for kind, call in kinds.items():
        seconds, peak, made = _timed(call)
        error = float((made - plain).abs().max() / plain.abs().max())
        found.append(Row(kind, mean, window, 1000 * seconds, peak / GIB, error))
    return found


def masked(query: Any, key: Any, value: Any, where: Any, window: int) -> Any:
    """SDPA with a mask of the packed length squared; ``[tokens, heads, width]``."""
    import torch

    number = (where == 0).cumsum(0)  # of the document
    place = torch.arange(len(where), device=where.device)
    back = place[:, None] - place
    mask = (number[:, None] == number) & (back >= 0)
    if window:
        mask &= back < window
    asking, keys, values = (one.transpose(0, 1)[None] for one in (query, key, value))
    made = torch.nn.functional.scaled_dot_product_attention(
        asking, keys, values, attn_mask=mask, enable_gqa=query.shape[1] != key.shape[1]
    )
    return made[0].transpose(0, 1)


def _timed(call: Callable[[], Any]) -> tuple[float, int, Any]:
    """Seconds of a forward and backward pass, bytes it took at most, and the output."""
    import torch

    call().sum().backward()  # kernels are chosen in the first
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, begun = torch.cuda.memory_allocated(), time.monotonic()
    for _ in range(REPEATS):
        made = call()
        made.sum().backward()
    torch.cuda.synchronize()
    seconds = (time.monotonic() - begun) / REPEATS
    return seconds, torch.cuda.max_memory_allocated() - before, made.detach()


def show_attention(rows: Sequence[Row]) -> str:
    """The table of attention."""
    head = [
        "attention",
        "tokens a document",
        "window",
        "ms, both ways",
        "GiB",
        "largest difference",
    ]
    lines = [
        [row.kind, f"{row.mean:,}", row.window or "none", f"{row.milliseconds:.1f}",
         f"{row.peak_gib:.2f}", f"{row.error:.1g}"] for row in rows
    ]  # fmt: skip
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def measure(card: str, folder: Path, runs: Path) -> tuple[Plan, list[probe.Trial]]:
    """The shipped recipe and its best proposal, under the cap of the recipe's own card."""
    import torch

    planned = plan(load(Path(f"recipes/{card}.yaml"), overrides(folder)).recipe, runs)
    total = torch.cuda.get_device_properties(0).total_memory
    share = fraction(planned.recipe.hardware.memory_gib, total)
    # Axolotl's process reads it; where it is set, Axolotl leaves it alone.
    os.environ["PYTORCH_ALLOC_CONF"] = (
        f"expandable_segments:True,per_process_memory_fraction:{share:.4f}"
    )
    try:
        return planned, probe.trials(planned, runs, most=1, seconds=SECONDS)
    finally:
        del os.environ["PYTORCH_ALLOC_CONF"]


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints both tables; 2 without a card."""
    args = parse_arguments(sys.argv[1:] if words is None else words)
    import torch

    if not torch.cuda.is_available():
        say(
            "bench-card: no NVIDIA card here (torch.cuda.is_available() is false): nothing measured"
        )
        return 2
    name = torch.cuda.get_device_name()
    peak = probes.tflops(name)
    say(f"{name}, torch {torch.__version__}\n\n{show_attention(attention_rows())}")
    torch.cuda.empty_cache()  # the children need the room
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        random_model.make(base, args.shape, "cuda")
        torch.cuda.empty_cache()
        for card in args.cards:
            planned, made = measure(card, base, args.runs or Path(scratch) / "runs")
            told, met = table(planned, made, peak or planned.recipe.hardware.tflops)
            gib = planned.recipe.hardware.memory_gib
            say("\n".join([f"\n{card}, torch's memory capped to {gib:g} GiB", told, *met]))
            figures[card] = [
                {"set": one.settings, "tokens_per_s": one.speed, "fits": one.fits,
                 "peak_gib": one.measured.peak / GIB if one.measured else None} for one in made
            ]  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
