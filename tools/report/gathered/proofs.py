"""The proofs part: by what figures merge and quantize showed that their output is right."""

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
        "merged_mb",
        "quantized_mb",
    ),
}


def proofs(source: Source) -> Part:
    """Each figure as the stage recorded it, with the limit that it was held against.

    Logits differ by their own unit; perplexity is a token's, on held-out rows; sizes are in MB
    (10^6 bytes). A figure that a stage did not record is None.

    Raises:
        Missing: nothing was merged yet.
    """
    records = {stage: source.run.record(stage) for stage in FIGURES}
    if not any(records.values()):
        raise Missing("nothing was merged yet", "merge")
    return {"stages": [_stage(stage, record) for stage, record in records.items() if record]}


def _stage(stage: str, record: Record) -> Part:
    metrics = record["metrics"]
    # The recipe's of then: today's may have another limit.
    asked = record["inputs"]["recipe"].get(stage, {})
    limits: dict[str, float | None] = {
        "perplexity_ratio": asked.get("max_perplexity_ratio"),
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


def _product(share: float | None, of: float | None) -> float | None:
    return None if share is None or of is None else share * of
