"""Chosen questions."""

from tools.report.gathered.judged.shown import Shown, by_scenario, values_of
from tools.report.gathered.source import Source
from tools.run.folder import Run


def test_values_by_run_spec_and_by_scenario(whole: Run) -> None:
    source = Source(whole)
    values = values_of(source, "tuned", source.evaluated())
    assert values["mmlu:subject=law"] == {"id0": 0, "id1": 0}
    assert len(by_scenario(values)["mmlu"]) == 6


def test_a_question_without_a_state_has_no_words(whole: Run) -> None:
    source, place = Source(whole), ("mmlu:subject=law", "id9")
    values = {"tuned": values_of(source, "tuned", source.evaluated())}
    found = Shown(source, values, "tuned", [place]).entry(place)
    assert found["question"] is None and found["answers"]["tuned"]["value"] is None
