"""Figures of the model that is served."""

from tools.report.drawn import served
from tools.report.drawn.html import join
from tools.report.gathered.proofs import proofs
from tools.report.gathered.source import Source
from tools.report.gathered.worker import figures
from tools.run.folder import Run


def test_each_figure_has_its_value_and_its_limit(whole: Run) -> None:
    made = join(served.proofs(proofs(Source(whole))))
    assert "0.000100" in made and "0.003000" in made  # the difference, and the most it may be
    assert "1.0667" in made and "1.3000" in made and "not measured" in made


def test_merged_and_quantized_stand_side_by_side(whole: Run) -> None:
    made = join(served.proofs(proofs(Source(whole))))
    assert "The merged and the quantized model side by side" in made
    assert "0.0400 to 0.0600" in made and "KL and the likeliest token are over 321 tokens" in made
    assert "Kept beyond its limits (quantize.keep): the mean score fell." in made
    assert "the score is that of quick, 90 questions" in made


def test_what_auto_took_is_told(whole: Run) -> None:
    part = {**proofs(Source(whole)), "chosen": "nf4: for a test", "beyond": [], "tier": None}
    made = join(served.proofs(part))
    assert "quantize.format auto took nf4: for a test." in made and "Kept beyond" not in made


def test_what_a_worker_was_not_measured_by_is_said() -> None:
    entry = {"at": 10.0, "seconds": 2.0, "new_tokens": 6.0, "prompt_tokens": 20.0}
    tuned = {**(figures([entry]) or {}), "resident_gib": 1.375, "card_gib": None}
    made = join(served.worker({"models": {"base": None, "tuned": tuned}}))
    assert made.count("not measured") == 2 and "3.0" in made and "10.0" in made
    assert "1.38" in made and "on the card, GiB" in made
