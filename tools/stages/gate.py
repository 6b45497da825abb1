"""What a quantized model must be, beside the merged one, before it is served.

On held-out rows: perplexity, KL divergence and top-1 agreement of the next token; on HELM's
questions, where ``quantize.tier`` names some: the mean score. Each with the middle 95 % over other
rows or questions of the same kind (``tools.score.bootstrap``).
"""

import math
import tempfile
from collections.abc import Callable
from typing import Any

from tools import base_model
from tools.console import say
from tools.data import tokens
from tools.data.tokens import Row
from tools.recipe.schema import Quantize
from tools.run.folder import Run
from tools.score import bootstrap
from tools.stages import divergence
from tools.stages.asking import asking
from tools.stages.divergence import Apart, Told

Metrics = dict[str, Any]


def rows_of(run: Run) -> list[Row]:
    """The held-out rows that the models are compared on, as token ids and labels."""
    file = tokens.files(run, base_model.local_folder(run.recipe.model))["validation"]
    return tokens.read(file, run.recipe.quantize.perplexity_rows, run.recipe.serve.context)


def compare(run: Run, merged: Callable[[], Any], quantized: Callable[[], Any]) -> Metrics:
    """The figures of both on held-out rows.

    Args:
        run: its data stage is done.
        merged: loads the merged model, which is let go before the other is loaded.
        quantized: loads the quantized one.

    Raises:
        StageError: what ``quantized`` raises.
    """
    data, ask = rows_of(run), asking(base_model.local_folder(run.recipe.model))
    # In the run's folder: /tmp may be memory, and small.
    with tempfile.TemporaryFile(dir=run.path) as file:
        told = divergence.record(merged(), data, file, "perplexity of merged", ask)
        label = "perplexity of quantized"
        apart = divergence.compare(quantized(), data, told, file, label, ask)
    return figures(told, apart)


def figures(told: list[Told], apart: list[Apart]) -> Metrics:
    """What two models' rows come to, by the names of the stage's record.

    Intervals are over the rows, of which both models are asked the same.
    """
    labels = [one.labels for one in told]
    total = sum(labels)
    before = divergence.perplexity(sum(one.loss for one in told), total)
    after = divergence.perplexity(sum(one.loss for one in apart), total)
    more = [b.loss - a.loss for a, b in zip(told, apart, strict=True)]
    compared = [one.places for one in apart]
    kl, same = [one.kl for one in apart], [float(one.same) for one in apart]
    low, high = bootstrap.of_ratio(more, labels)
    return {
        "merged_perplexity": before,
        "quantized_perplexity": after,
        "perplexity_ratio": after / before,
        "perplexity_ratio_interval": [_exp(low), _exp(high)],
        "perplexity_rows": len(told),
        "kl": sum(kl) / max(sum(compared), 1),
        "kl_interval": list(bootstrap.of_ratio(kl, compared)),
        "top1": sum(same) / max(sum(compared), 1),
        "top1_interval": list(bootstrap.of_ratio(same, compared)),
        "compared_tokens": sum(compared),
    }


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def limits(wanted: Quantize) -> Metrics:
    """What the figures are held against, for the record."""
    names = ("max_perplexity_ratio", "max_kl", "min_top1", "max_score_drop")
    return {name: getattr(wanted, name) for name in names}


def beyond(found: Metrics, wanted: Quantize) -> list[str]:
    """What is beyond the recipe's limits, a line each.

    Args:
        found: as ``compare`` gives it.
        wanted: the recipe's ``quantize`` section.
    """
    faults = []
    # So put, NaN does not pass.
    if not found["perplexity_ratio"] <= wanted.max_perplexity_ratio:
        faults.append(
            f"perplexity grew from {found['merged_perplexity']:.4f} to "
            f"{found['quantized_perplexity']:.4f}, ratio {found['perplexity_ratio']:.4f}, more "
            f"than quantize.max_perplexity_ratio = {wanted.max_perplexity_ratio:g}"
        )
    if not found["kl"] <= wanted.max_kl:
        faults.append(
            f"the next token's distribution is off by a KL of {found['kl']:.4f} nats, more than "
            f"quantize.max_kl = {wanted.max_kl:g}"
        )
    if not found["top1"] >= wanted.min_top1:
        faults.append(
            f"the likeliest token is the merged model's at {found['top1']:.1%} of the places, less "
            f"than quantize.min_top1 = {wanted.min_top1:g}"
        )
    return faults


def lost(tier: Metrics, wanted: Quantize) -> list[str]:
    """What the questions say against the model: a loss beyond the limit that is no chance.

    Args:
        tier: as ``side_by_side.ask`` gives it.
        wanted: the recipe's ``quantize`` section.
    """
    if tier["drop"] <= wanted.max_score_drop or tier["drop_interval"][0] <= 0:
        return []
    return [
        f"the mean score of {tier['tier']} fell from {tier['merged']:.3f} to "
        f"{tier['quantized']:.3f}, by {between(tier['drop'], tier['drop_interval'])}, more than "
        f"quantize.max_score_drop = {wanted.max_score_drop:g}"
    ]


def between(value: float, interval: list[float]) -> str:
    """A figure with its interval, as it is printed."""
    low, high = interval
    return f"{value:.4f} ({low:.4f} to {high:.4f})"


def tell(found: Metrics, wanted: Quantize) -> None:
    """The figures beside their limits."""
    say(
        f"quantize: perplexity on {found['perplexity_rows']} held-out rows: merged "
        f"{found['merged_perplexity']:.4f}, quantized {found['quantized_perplexity']:.4f}, ratio "
        f"{between(found['perplexity_ratio'], found['perplexity_ratio_interval'])}, at most "
        f"{wanted.max_perplexity_ratio:g}"
    )
    say(
        f"quantize: at {found['compared_tokens']} tokens: KL(merged || quantized) "
        f"{between(found['kl'], found['kl_interval'])} nats, at most {wanted.max_kl:g}; the same "
        f"likeliest token at {between(found['top1'], found['top1_interval'])} of them, at least "
        f"{wanted.min_top1:g}"
    )


def tell_tier(tier: Metrics, wanted: Quantize) -> None:
    """The tier's scores beside their limit."""
    chance = tier["drop"] > wanted.max_score_drop and tier["drop_interval"][0] <= 0
    said = f"; {len(tier['failed'])} run specs failed" if tier["failed"] else ""
    said += "; that is more, but chance alone may do it" if chance else ""
    say(
        f"quantize: {tier['tier']}, {tier['questions']} questions: mean score merged "
        f"{tier['merged']:.4f}, quantized {tier['quantized']:.4f}, lost "
        f"{between(tier['drop'], tier['drop_interval'])}, at most {wanted.max_score_drop:g}{said}"
    )
