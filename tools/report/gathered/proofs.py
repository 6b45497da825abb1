"""The proofs part: by what figures merge and quantize showed that their output is right."""

from typing import Any

from tools.report.gathered.source import Missing, Part, Source
from tools.run.provenance import Record

# By stage, its figures in the order of the page.
FIGURES = {
    "merge": ("max_logit_diff", "max_logit_change"),
    "quantize": (
        "merged_perplexity",
        "quantized_perplexity",
        "perplexity_ratio",
        "perplexity_rows",
        "kl",
        "top1",
        "compared_tokens",
        "merged_mb",
        "quantized_mb",
    ),
}


def proofs(source: Source) -> Part:
    """Each figure as the stage recorded it, with the limit that it was held against.

    Logits differ by their own unit; perplexity is a token's, on held-out rows; KL is in nats, top-1
    a share of the tokens; sizes are in MB (10^6 bytes). A figure that a stage did not record is
    None. ``beside`` has the merged and the quantized model side by side.

    Raises:
        Missing: nothing was merged yet.
    """
    records = {stage: source.run.record(stage) for stage in FIGURES}
    if not any(records.values()):
        raise Missing("nothing was merged yet", "merge")
    stages = [_stage(stage, record) for stage, record in records.items() if record]
    quantized = records["quantize"]
    return {"stages": stages, **(_beside(quantized) if quantized else {})}


def _stage(stage: str, record: Record) -> Part:
    metrics, asked = record["metrics"], _asked(record, stage)
    limits: dict[str, float | None] = {
        "perplexity_ratio": asked.get("max_perplexity_ratio"),
        "kl": asked.get("max_kl"),
        "top1": asked.get("min_top1"),
        "max_logit_diff": _product(asked.get("max_logit_error"), metrics.get("max_logit_change")),
    }
    return {
        "stage": stage,
        "how": asked.get("method") or asked.get("format"),
        "seconds": record["seconds"],
        "figures": [
            {"figure": name, "value": metrics.get(name), "limit": limits.get(name)}
            for name in FIGURES[stage]
        ],
    }


def _asked(record: Record, stage: str) -> dict[str, Any]:
    """The recipe's section of then: today's may have other limits.

    A limit at its default is in no fingerprint, so the stage notes those it went by.
    """
    limits: dict[str, Any] = record["metrics"].get("limits", {})
    return {**limits, **record["inputs"]["recipe"].get(stage, {})}


def _beside(record: Record) -> Part:
    """Merged and quantized, a row a figure, what they differ by, and what was kept in spite."""
    metrics, asked = record["metrics"], _asked(record, "quantize")
    tier = metrics.get("tier") or {}
    rows = [
        _row(metrics, "perplexity", "perplexity_ratio", asked.get("max_perplexity_ratio")),
        {**_row(metrics, "mb", "", None), "apart": _ratio(metrics)},
        _row(metrics, "kl", "kl", asked.get("max_kl")),
        _row(metrics, "top1", "top1", asked.get("min_top1")),
    ]
    if tier:
        rows.append(
            {
                "figure": "score",
                "merged": tier["merged"],
                "quantized": tier["quantized"],
                "apart": tier["drop"],
                "interval": tier["drop_interval"],
                "limit": asked.get("max_score_drop"),
            }
        )
    return {
        "beside": rows,
        "tier": tier.get("tier"),
        "questions": tier.get("questions"),
        "tokens": metrics.get("compared_tokens"),
        "chosen": metrics.get("chosen"),
        "beyond": metrics.get("beyond", []),
    }


def _row(metrics: dict[str, Any], figure: str, apart: str, limit: float | None) -> Part:
    return {
        "figure": figure,
        "merged": metrics.get(f"merged_{figure}"),
        "quantized": metrics.get(f"quantized_{figure}"),
        "apart": metrics.get(apart),
        "interval": metrics.get(f"{apart}_interval"),
        "limit": limit,
    }


def _ratio(metrics: dict[str, Any]) -> float | None:
    merged, quantized = metrics.get("merged_mb"), metrics.get("quantized_mb")
    return quantized / merged if merged and quantized is not None else None


def _product(share: float | None, of: float | None) -> float | None:
    return None if share is None or of is None else share * of
