"""Sections on how the run was made: training, the day, memory, data."""

from typing import Any

from tools.console import duration
from tools.report.drawn.charts import Segment, Series, bar, histogram, lines
from tools.report.drawn.html import Html, facts, table, tag
from tools.report.gathered.source import Part
from tools.report.scale import number, share

_STEP = "optimizer step"
# By the day's segments, a name for the legend and a style.
_DAY = {
    "sweep": ("sweep", "s6"),
    "train": ("train", "s1"),
    "soup": ("soup", "s2"),
    "merge": ("merge", "s3"),
    "quantize": ("quantize", "s5"),
    "reserve": ("reserve, not used", "kept"),
    "left": ("left", "free"),
}
_WORK = ("sweep", "train", "soup", "merge", "quantize")
_MEMORY = {"weights": "s1", "adapters": "s2", "optimizer": "s3", "activations": "s4"}
_MEMORY |= {"logits": "s5", "context": "s6"}


def training(part: Part) -> list[Html | None]:
    """Three charts, and the figures."""
    curves = part["curves"]
    loss = [
        Series("training", curves["loss"], "raw"),
        Series("held out", curves["eval_loss"], "main", dots=True),
    ]
    named = (
        ("chart-rate", "Learning rate", Series("learning rate", curves["learning_rate"], "main")),
        (
            "chart-speed",
            "Speed, learnt tokens a second and card",
            Series("tokens a second", curves["tokens_per_second"], "main"),
        ),
    )
    charts = [lines("chart-loss", "Loss, nats a token", loss, _STEP)] if curves["loss"] else []
    small = [
        lines(name, title, [one], _STEP, zero=True) for name, title, one in named if one.points
    ]
    absent = [title for _, title, one in named if not one.points]
    return [
        tag("p", _training_lead(part)),
        *charts,
        tag("div", small, class_="pair") if small else None,
        tag("p", f"Not logged: {', '.join(absent)}.", class_="soft") if absent else None,
        facts(_training_facts(part)),
    ]


def _training_lead(part: Part) -> str:
    cut = ""
    if part["stopped"]:
        cut = f" of {part['planned_steps']:,} planned, as many as the day allowed"
    held_out = part["best_eval_loss"]
    best = f"; on held-out rows it was {number(held_out)} at best" if held_out is not None else ""
    return (
        f"{part['steps']:,} steps{cut}. The loss went from {number(part['first_loss'])} to "
        f"{number(part['last_loss'])}{best}."
    )


def _training_facts(part: Part) -> list[tuple[str, str]]:
    trained, speed = part["trained_parameters"], part["median_tokens_per_second"]
    return [
        ("time", duration(part["seconds"])),
        ("parameters trained", "–" if trained is None else f"{trained / 1e6:,.1f} M"),
        ("median speed, learnt tokens/s", number(speed, 1)),
        ("tokens that are learnt", share(part["learnt_share"])),
    ]


def day(part: Part) -> list[Html | None]:
    """The bar."""
    segments = [
        Segment(name, part["segments"][key], duration(part["segments"][key]), style)
        for key, (name, style) in _DAY.items()
        if key in part["segments"]  # most recipes have no sweep
    ]
    used = sum(part["segments"].get(key, 0.0) for key in _WORK)
    total = max(part["total"], used)
    title = f"{duration(used)} of {duration(part['total'])} used"
    if part["over"]:
        title += f", {duration(part['over'])} over the day"
    return [bar("chart-day", title, segments, total), tag("p", _attempts(part), class_="soft")]


def _attempts(part: Part) -> str:
    told = f"Stretches of work: {part['attempts']}, of them cut off by a crash: {part['cut_off']}."
    if part["not_counted"] >= 0.5:  # less would read as 0 s
        told += f" Other recipes in the same folder took {duration(part['not_counted'])}."
    return told


def memory(part: Part) -> list[Html | None]:
    """Predicted parts above what was measured, on one scale."""
    cpu = part["device"] == "cpu"
    measured = part["measured_process"] if cpu else part["measured_card"]
    whole = max(part["available"], part["predicted_total"], measured or 0.0)
    predicted = [
        Segment(name, size, f"{size:.2f} GiB", _MEMORY.get(name, "s6"))
        for name, size in part["predicted"].items()
    ]
    there = "the host, left to training" if cpu else "the card"
    title = f"Predicted: {part['predicted_total']:.2f} of {part['available']:g} GiB of {there}"
    found: list[Html | None] = [bar("chart-predicted", title, predicted, whole)]
    if measured is not None:
        what = "the trainer's process" if cpu else "the card's allocator"
        gap = part["predicted_total"] / measured - 1
        title = f"Measured: {measured:.2f} GiB, {what}; the prediction is {_gap(gap)}"
        one = [Segment("measured", measured, f"{measured:.2f} GiB", "s1")]
        found.append(bar("chart-measured", title, one, whole, legend=False))
    return [*found, *(tag("p", told, class_="soft") for told in _unmeasured(part, cpu))]


def _gap(gap: float) -> str:
    if abs(gap) < 0.01:
        return "right within 1 %"
    return f"{abs(gap):.0%} too {'high' if gap > 0 else 'low'}"


def _unmeasured(part: Part, cpu: bool) -> list[str]:
    """What was not measured, and why."""
    found = ["Memory of a card: not measured, for none took part."] if cpu else []
    if cpu and part["measured_process"] is not None:
        found.append(
            "The process's peak holds Python and its libraries and what loading took for a moment; "
            "the formula counts a training step."
        )
    if not part["trained"]:
        found.append("Measured: nothing, for nothing was trained yet.")
    elif (part["measured_process"] if cpu else part["measured_card"]) is None:
        found.append("Measured: nothing; the trainer logged no peak.")
    return found


def data(part: Part) -> list[Html | None]:
    """The funnel, the sources, the lengths."""
    return [
        tag("h3", "From rows to splits"),
        _bars(_funnel(part), "Questions from read to split"),
        tag("p", _packed(part), class_="soft"),
        tag("h3", "Sources"),
        table(
            ("source", "kind", "from", "licence", "written by", *_COUNTS),
            [_source(each) for each in part["sources"]],
            "Sources of the rows",
            words=5,
        ),
        *_left(part["sources"]),
        *_operators(part["operators"]),
        *_lengths(part["lengths"]),
        *_lengths_by_source(part["sources"]),
    ]


def _funnel(part: Part) -> list[tuple[str, float, str]]:
    names = {"train": "to learn", "validation": "validation", "test": "HELM's", "shots": "examples"}
    read = [("read", part["read"])] if part["read"] is not None else []
    found = [*read, ("kept", part["kept"])]
    found += [(names.get(name, name), count) for name, count in part["questions"].items()]
    return [(name, count, f"{count:,}") for name, count in found]


def _packed(part: Part) -> str:
    told = (
        f"The questions to learn are in {part['train_rows']:,} training rows, those for validation "
        f"in {part['validation_rows']:,}: a row may hold several."
    )
    if part["read"] is None:
        told += " How many rows were read before duplicates and long ones went is not recorded."
    return told


_COUNTS = ("rows in", "left", "trained on", "tokens learnt")


def _source(each: Part) -> list[Any]:
    left = sum(one["rows"] for one in each["left"]) if each["read"] is not None else None
    counts = [
        "–" if count is None else f"{count:,}" for count in (each["read"], left, each["trained_on"])
    ]
    words = [each[key] for key in ("name", "kind", "path", "licence", "origin")]
    return [*words, *counts, share(each["learnt_share"])]


def _left(sources: list[Part]) -> list[Html]:
    """Why rows are not trained on."""
    rows = [
        [each["name"], one["why"], one["first"] or "–", f"{one['rows']:,}"]
        for each in sources
        for one in each["left"]
    ]
    if not rows:
        return []
    heads = ("source", "why rows left", "the first of them", "rows")
    return [tag("h3", "Rows that left"), table(heads, rows, "Rows that left", words=3)]


def _operators(operators: list[Part]) -> list[Html]:
    """What each operator of the recipe did, in order."""
    rows = [
        [each["key"], *(f"{each[key]:,}" for key in ("before", "after", "changed", "added"))]
        for each in operators
    ]
    if not rows:
        return []
    heads = ("operator", "rows in", "rows out", "changed", "added")
    return [tag("h3", "Operators"), table(heads, rows, "What operators did")]


def _lengths(part: Part | None) -> list[Html]:
    if part is None:
        return [
            tag("h3", "Length of the training rows"),
            tag("p", "Not known: rows become tokens before training, with make train."),
        ]
    chart = histogram(
        "chart-lengths", "Training rows by length", part["bin"], part["counts"], "tokens of a row"
    )
    limit = part["limit"]
    over = f"{part['over']:,} of {part['rows']:,}" if limit else "no limit is set"
    told = [
        ("rows", f"{part['rows']:,}"),
        ("tokens", f"{part['tokens']:,}"),
        ("shortest", f"{part['shortest']:,}"),
        ("median", f"{part['median']:,g}"),
        ("95 % are up to", f"{part['p95']:,}"),
        ("longest", f"{part['longest']:,}"),
        (f"over {limit:,}, the limit" if limit else "over the limit", over),
    ]
    return [tag("h3", "Length of the training rows"), chart, facts(told)]


def _lengths_by_source(sources: list[Part]) -> list[Html]:
    """A small histogram a source, where there are several."""
    known = [each for each in sources if each["lengths"]]
    if len(known) < 2:
        return []
    charts = [
        histogram(
            f"chart-lengths-{number}",
            f"{each['name']}: {each['lengths']['rows']:,} rows, {share(each['learnt_share'])} of "
            "their tokens learnt",
            each["lengths"]["bin"],
            each["lengths"]["counts"],
            "tokens of a row",
        )
        for number, each in enumerate(known, 1)
    ]
    return [tag("div", charts, class_="pair")]


def _bars(rows: list[tuple[str, float, str]], label: str) -> Html:
    """A table whose last column is the number as a bar."""
    most = max((value for _, value, _ in rows), default=0) or 1
    body = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", text, class_="number"),
            tag(
                "td", tag("i", style=f"width:{value / most:.1%}"), class_="bar", aria_hidden="true"
            ),
        )
        for name, value, text in rows
    ]
    return tag("table", tag("caption", label, class_="unseen"), tag("tbody", body), class_="bars")
