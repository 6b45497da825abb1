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
