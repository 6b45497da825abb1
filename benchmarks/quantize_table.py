"""The table of ``benchmarks.quantize``, and what stands below it."""

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from benchmarks.quantize_formed import LOAD, Line
from tools.run.folder import Run

HEADS = ("format", "made in, s", "MB", "peak, GB", "perplexity", "mean KL", "top-1", "quick tier",
         "tokens/s", "transformers", "vLLM", "llama.cpp")  # fmt: skip


def table(lines: Sequence[Line]) -> str:
    """The Markdown table; a dash: not measured."""
    cells = [
        (
            line.name,
            _number(line.seconds, ".0f"),
            _number(line.megabytes, ".1f"),
            _number(line.peak, ".2f"),
            _number(line.ratio, ".4f"),
            _number(line.kl, ".5f"),
            _number(line.top1, ".3f"),
            _number(line.score, ".3f"),
            _number(line.speed, ".1f"),
            line.transformers or "-",
            _short(line.vllm),
            _short(line.llama_cpp),
        )
        for line in lines
    ]
    aligned = ("left", *["right"] * 8, "left", "left", "left")
    return tabulate(cells, HEADS, tablefmt="github", colalign=aligned, disable_numparse=True)


def caption(run: Run, lines: Sequence[Line], about: dict[str, Any]) -> str:
    """Conditions, what was not run and why."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    said = [
        f"{run.recipe.name}: {run.recipe.model.id}; made: the whole verb with its own proof; "
        "perplexity: ratio to the merged model's; mean KL in nats and top-1 beside it, on learnt "
        f"tokens of held-out rows; tokens/s: the worker, load {LOAD} of benchmarks/loads.py.",
        f"{about['card'] or about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB; "
        f"{versions}; load average before: {about['load_average']}.",
    ]
    said += [f"{line.name}: {line.note}" for line in lines if line.note]
    reasons: dict[str, list[str]] = {}
    for line in lines:
        for who, what in (("vLLM", line.vllm), ("llama.cpp", line.llama_cpp)):
            if ": " in what:
                reasons.setdefault(f"{who} {what}", []).append(line.name)
    said += [f"{why} ({', '.join(names)})" for why, names in reasons.items()]
    return "\n".join(said)


def _short(what: str) -> str:
    return what.partition(":")[0] or "-"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
