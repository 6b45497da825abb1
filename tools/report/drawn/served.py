"""Sections on the model that is served: how it was proved, and how fast it answered."""

from tools.console import duration
from tools.report.drawn.html import Child, Html, table, tag
from tools.report.gathered.source import Part
from tools.report.scale import number

_NOT = "not measured"
# By a figure's name in the record, what it is called, its digits and what it says.
_FIGURES: dict[str, tuple[str, int, str]] = {
    "max_logit_diff": (
        "largest logit difference",
        6,
        "merged model to base with adapter; the limit is a share of what the adapter changed",
    ),
    "max_logit_change": ("largest logit change", 3, "base with adapter to base: what was learnt"),
    "merged_perplexity": ("perplexity, merged", 4, "on held-out rows"),
    "quantized_perplexity": ("perplexity, quantized", 4, "on the same rows"),
    "perplexity_ratio": ("quantized / merged", 4, "above 1 is what the format cost"),
    "perplexity_rows": ("held-out rows", 0, "that perplexity is over"),
    "merged_mb": ("merged, MB", 1, "weights on the disk"),
    "quantized_mb": ("quantized, MB", 1, "weights on the disk"),
}


def proofs(part: Part) -> list[Html | None]:
    """Each figure of merge and quantize with its limit."""
    rows = [
        [stage["stage"], *_figure(each)] for stage in part["stages"] for each in stage["figures"]
    ]
    told = "; ".join(
        f"{each['stage']}: {each['how'] or '–'}, {duration(each['seconds'])}"
        for each in part["stages"]
    )
    heads = ("stage", "figure", "what it says", "value", "at most")
    return [
        tag("p", f"{told}."),
        table(heads, rows, "Figures of merge and quantize", words=3),
    ]


def _figure(each: Part) -> list[Child]:
    name, digits, says = _FIGURES[each["figure"]]
    value = _NOT if each["value"] is None else number(each["value"], digits)
    return [name, says, value, number(each["limit"], digits)]


def worker(part: Part) -> list[Html | None]:
    """Latency, speed and memory, a row a model."""
    rows = [[who, *_speed(found)] for who, found in part["models"].items()]
    heads = (
        "model",
        "median, s",
        "95 % within, s",
        "longest, s",
        "new tokens/s",
        "prompt tokens/s",
        "memory, GiB",
        "on the card, GiB",
        "answers",
    )
    return [
        table(heads, rows, "Latency and speed of the worker"),
        tag("p", _METHOD, class_="soft"),
    ]


_METHOD = (
    "From the worker's log while it was scored: several questions at once, so latency is that of a "
    "busy worker; tokens a second are over the time in which an answer was in the making. Memory "
    "is the most that the process with the model held since its start, loading included."
)


def _speed(found: Part | None) -> list[str]:
    if found is None:
        return [_NOT, *["–"] * 7]
    seconds = found["seconds"]
    return [
        *(number(seconds[name], 2) for name in ("median", "p95", "longest")),
        *(_measured(found[f"{kind}_per_second"]) for kind in ("new_tokens", "prompt_tokens")),
        _measured(found["resident_gib"], 2),
        _measured(found["card_gib"], 2),
        f"{found['answers']:,}",
    ]


def _measured(value: float | None, digits: int = 1) -> str:
    return _NOT if value is None else number(value, digits)
