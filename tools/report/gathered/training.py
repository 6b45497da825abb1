"""The training part: curves of loss, learning rate and speed."""

import math
import statistics
from typing import Any

from tools.day.watch import TOKENS
from tools.report.gathered.source import Part, Source

# By the part's name of a curve, the trainer's.
CURVES = {
    "loss": "loss",
    "eval_loss": "eval_loss",
    "learning_rate": "learning_rate",
    "tokens_per_second": TOKENS,
}
FIGURES = ("steps", "planned_steps", "stopped", "trained_parameters", "learnt_share")


def training(source: Source) -> Part:
    """Curves as ``[step, value]`` points, and the figures beside them.

    Losses are mean cross-entropies in nats a token; speed counts learnt tokens a second and card.

    Raises:
        Missing: nothing was trained yet.
    """
    record = source.record("train", "nothing was trained yet")
    metrics = record["metrics"]
    curves = {name: points(metrics["log"], key) for name, key in CURVES.items()}
    speeds = [value for _, value in curves["tokens_per_second"]]
    return {
        **{name: metrics.get(name) for name in FIGURES},
        "first_loss": metrics["first_loss"],
        "last_loss": metrics["last_loss"],
        # Before the first step it was the base that was evaluated.
        "best_eval_loss": min((loss for step, loss in curves["eval_loss"] if step), default=None),
        "median_tokens_per_second": statistics.median(speeds) if speeds else None,
        "seconds": record["seconds"],
        "curves": curves,
    }


def points(log: list[dict[str, Any]], key: str) -> list[list[float]]:
    """The finite values of a trainer's log under a key, as ``[step, value]``, in its order."""
    found = [[entry["step"], entry[key]] for entry in log if entry.get(key) is not None]
    return [point for point in found if math.isfinite(point[1])]
