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
    "kl": ("KL divergence, nats", 4, "of the next token, merged || quantized; at most the limit"),
    "top1": ("top-1 agreement", 4, "tokens with the same likeliest one; at least the limit"),
    "compared_tokens": ("tokens", 0, "that KL and agreement are over"),
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
    heads = ("stage", "figure", "what it says", "value", "limit")
    return [
        tag("p", f"{told}."),
        *_warned(part),
        *_beside(part),
        table(heads, rows, "Figures of merge and quantize", words=3),
    ]


def _warned(part: Part) -> list[Html | None]:
    """What was kept beyond its limits, and what ``auto`` chose."""
    found: list[Html | None] = []
    if part.get("chosen"):
        found.append(tag("p", f"quantize.format auto took {part['chosen']}."))
    if part.get("beyond"):
        said = "; ".join(part["beyond"])
        found.append(tag("p", tag("strong", f"Kept beyond its limits (quantize.keep): {said}.")))
    return found


# By a row of the comparison: what it is called, its digits, how the difference is counted.
_BESIDE: dict[str, tuple[str, int, str]] = {
    "perplexity": ("perplexity of held-out rows", 4, "ratio, at most"),
    "mb": ("MB on the disk", 1, "ratio"),
    "kl": ("KL of the next token, nats", 4, "at most"),
    "top1": ("same likeliest token", 4, "share, at least"),
    "score": ("mean score", 4, "lost, at most"),
}


def _beside(part: Part) -> list[Html | None]:
    """The merged and the quantized model side by side."""
    if not part.get("beside"):
        return []
    rows = [_compared(each) for each in part["beside"]]
    heads = ("", "merged", "quantized", "differ by", "95 %", "counted as", "limit")
    over = f"KL and the likeliest token are over {number(part['tokens'], 0)} tokens"
    if part["tier"]:
        over += f"; the score is that of {part['tier']}, {number(part['questions'], 0)} questions"
    return [
        table(heads, rows, "The merged and the quantized model side by side"),
        tag("p", f"{over}. Intervals are over other rows or questions of the kind.", class_="soft"),
    ]


def _compared(each: Part) -> list[Child]:
    name, digits, counted = _BESIDE[each["figure"]]
    ends = each["interval"]
    within = f"{number(ends[0], 4)} to {number(ends[1], 4)}" if ends else "–"
    return [
        name,
        number(each["merged"], digits),
        number(each["quantized"], digits),
        number(each["apart"], 4),
        within,
        counted,
        number(each["limit"], 4),
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
