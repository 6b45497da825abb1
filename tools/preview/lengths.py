"""How long training rows are in tokens, and how much of them is learnt, source by source."""

import json
import math
import statistics
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.data import tokens
from tools.run.folder import Run

BINS = 30  # of a histogram, at most
_SKILL = len('{"skill": ')


@dataclass
class Measure:
    """The tokens of some rows.

    Attributes:
        lengths: tokens of each row.
        learnt: tokens that are learnt, of all rows.
    """

    lengths: "array[int]" = field(default_factory=lambda: array("q"))
    learnt: int = 0

    def add(self, length: int, learnt: int) -> None:
        """Count a row.

        Args:
            length: its tokens.
            learnt: how many of them are learnt.
        """
        self.lengths.append(length)
        self.learnt += learnt

    @property
    def tokens(self) -> int:
        """Of all rows."""
        return sum(self.lengths)

    @property
    def share(self) -> float:
        """Of the tokens those that are learnt, 0 to 1."""
        return self.learnt / max(self.tokens, 1)


def by_source(run: Run, tell: Callable[[int], object] = lambda size: None) -> dict[str, Measure]:
    """The tokenized training rows of a run, those of each source apart.

    Args:
        run: its data stage is done; what ``tokens.files`` wrote of it is read.
        tell: is given the bytes of each row that was read, for a progress bar.
    """
    found: dict[str, Measure] = {}
    made, rows = tokens.paths(run)["train"], run.output("data") / "train.jsonl"
    with made.open(encoding="utf-8") as lines, rows.open(encoding="utf-8") as texts:
        for line, text in zip(lines, texts, strict=True):
            labels = json.loads(line)["labels"]
            learnt = len(labels) - labels.count(tokens.IGNORED)
            found.setdefault(source_of(text), Measure()).add(len(labels), learnt)
            tell(len(line))
    return found


def source_of(line: str) -> str:
    """The source of a training row, as it is written, without reading the whole of it."""
    name, _ = json.JSONDecoder().raw_decode(line, _SKILL)
    return str(name)


def step_of(span: float, count: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten of which ``count`` cover ``span``.

    Args:
        span: a positive length.
        count: most steps.
    """
    power = 10.0 ** math.floor(math.log10(span / count))
    # 1e-9: a span of just so many steps must not miss it by a rounding.
    return next(
        power * factor for factor in (1, 2, 5, 10) if span <= power * factor * count * (1 + 1e-9)
    )


def histogram(lengths: Sequence[int], bins: int = BINS) -> dict[str, Any]:
    """Counts in bins of one round width from 0 on, and the usual quantiles.

    Args:
        lengths: tokens of each row, sorted, not empty.
        bins: at most.
    """
    width = max(1, round(step_of(lengths[-1] + 1, bins)))
    counts = [0] * (lengths[-1] // width + 1)
    for length in lengths:
        counts[length // width] += 1
    return {
        "bin": width,
        "counts": counts,
        "rows": len(lengths),
        "tokens": sum(lengths),
        "shortest": lengths[0],
        "median": statistics.median(lengths),
        "p95": lengths[math.ceil(0.95 * len(lengths)) - 1],  # nearest rank: a length that there is
        "longest": lengths[-1],
    }
