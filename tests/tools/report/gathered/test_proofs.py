"""The figures of merge and quantize."""

import shutil

import pytest

from tools.report.gathered.proofs import FIGURES, proofs
from tools.report.gathered.source import Missing, Source
from tools.run.folder import Run


def test_figures_stand_by_value_beside_the_limits_of_then(whole: Run) -> None:
    merge, quantize = proofs(Source(whole))["stages"]
    found = {each["figure"]: each for one in (merge, quantize) for each in one["figures"]}
    # The tiny recipe allows 1e-3 of what the adapter changed, and a ratio of 1.3.
    diff, ratio = found["max_logit_diff"], found["perplexity_ratio"]
    assert diff["value"] == 1e-4 and diff["limit"] == pytest.approx(3e-3)
    assert (ratio["value"], ratio["limit"]) == (1.0667, 1.3)
    assert found["quantized_mb"]["value"] is None and (merge["how"], quantize["how"]) == (
        "plain",
        "nf4",
    )


def test_what_is_not_there_is_left_out(whole: Run) -> None:
    shutil.rmtree(whole.output("quantize"))
    assert [each["stage"] for each in proofs(Source(whole))["stages"]] == ["merge"]
    shutil.rmtree(whole.output("merge"))
    with pytest.raises(Missing, match="nothing was merged"):
        proofs(Source(whole))
    assert set(FIGURES) == {"merge", "quantize"}


def test_merged_and_quantized_side_by_side(whole: Run) -> None:
    found = proofs(Source(whole))
    rows = {each["figure"]: each for each in found["beside"]}
    assert list(rows) == ["perplexity", "mb", "kl", "top1", "score"]
    assert (rows["perplexity"]["merged"], rows["perplexity"]["quantized"]) == (1.5, 1.6)
    assert (rows["kl"]["apart"], rows["kl"]["limit"], rows["kl"]["interval"]) == (
        0.05, 0.2, [0.04, 0.06],
    )  # fmt: skip
    assert rows["top1"]["limit"] == 0.8 and rows["mb"]["apart"] is None
    assert (rows["score"]["merged"], rows["score"]["apart"]) == (0.6, 0.1)
    assert found["tier"] == "quick" and found["beyond"] == ["the mean score fell"]


def test_a_record_of_before_the_gate_has_what_it_has(whole: Run) -> None:
    metrics = {"merged_perplexity": 1.5, "quantized_perplexity": 1.6, "perplexity_ratio": 1.0667}
    with whole.produce("quantize") as work:
        work.note(**metrics)
    found = proofs(Source(whole))
    rows = {each["figure"]: each for each in found["beside"]}
    assert list(rows) == ["perplexity", "mb", "kl", "top1"]
    assert rows["kl"]["apart"] is None and rows["kl"]["limit"] is None
    assert rows["perplexity"]["limit"] == 1.3 and found["beyond"] == [] and not found["chosen"]
