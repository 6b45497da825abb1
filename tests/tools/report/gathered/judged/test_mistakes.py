"""Which wrong answers are shown, and what of them."""

import shutil
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.tiny import make_run
from tests.tools.report.conftest import evaluate, make_rows
from tools.files import read_json, write_json
from tools.report.gathered.judged.mistakes import SAMPLE, Place, choose, mistakes
from tools.report.gathered.source import Source
from tools.run.folder import Run

PLACES = st.tuples(st.sampled_from(["gsm", "mmlu:subject=law"]), st.integers(0, 99).map(str))


@given(st.dictionaries(PLACES, st.sampled_from([0.0, 1.0])), st.text())
def test_a_seeded_sample_of_what_is_wrong(values: dict[Place, float], seed: str) -> None:
    found = choose(values, seed, graded=False)
    wrong = {place for place, value in values.items() if value == 0}
    assert set(found) <= wrong and len(set(found)) == len(found) == min(SAMPLE, len(wrong))
    backwards = dict(reversed(values.items()))
    assert choose(backwards, seed, graded=False) == found == sorted(found)


@given(st.dictionaries(PLACES, st.floats(0, 1), min_size=1))
def test_of_graded_answers_the_lowest(values: dict[Place, float]) -> None:
    found = [values[place] for place in choose(values, "seed", graded=True)]
    assert found == sorted(values.values())[:SAMPLE]


def test_a_mistake_is_shown_with_both_answers(whole: Run) -> None:
    found = mistakes(Source(whole))
    assert found["model"] == "tuned"
    by_name = {each["scenario"]: each for each in found["scenarios"]}
    counting = by_name["oneday: counting"]
    assert (counting["instances"], counting["wrong"]) == (8, 1)
    (one,) = counting["sample"]
    assert one["instance"] == "id6" and one["wanted"] == ["right 6"]
    assert one["prompt"].startswith("Question: 6\nAnswer:")
    assert one["answers"]["tuned"]["text"].startswith(" wrong 6")
    assert one["answers"]["tuned"]["value"] == one["answers"]["base"]["value"] == 0
    law = [one for one in by_name["mmlu"]["sample"] if one["run_spec"] == "mmlu:subject=law"]
    assert len(law) == 2 and by_name["mmlu"]["wrong"] == 3


def test_the_base_alone(whole: Run) -> None:
    shutil.rmtree(whole.output("eval_tuned"))
    found = mistakes(Source(whole))
    assert found["model"] == "base"
    assert {
        who for each in found["scenarios"] for one in each["sample"] for who in one["answers"]
    } == {"base"}


def test_ten_a_scenario(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    make_rows(run)
    evaluate(run, "tuned", {f"mmlu:subject={n}": ([], [0] * 9) for n in "abc"})
    (mmlu,) = mistakes(Source(run))["scenarios"]
    assert mmlu["wrong"] == 27 and len(mmlu["sample"]) == SAMPLE


def test_a_graded_metric_makes_no_mistakes(whole: Run) -> None:
    path = whole.output("eval_tuned") / "scores.json"
    scores = read_json(path)
    for name in ("mmlu:subject=law", "mmlu:subject=anatomy"):
        scores[name]["metric"] = "rouge_2"
        for file in whole.output("eval_tuned").glob(f"**/{name}*/per_instance_stats.json"):
            file.write_text(file.read_text().replace("exact_match", "rouge_2"))
    write_json(path, scores)
    by_name = {each["scenario"]: each for each in mistakes(Source(whole))["scenarios"]}
    assert by_name["mmlu"]["wrong"] is None and len(by_name["mmlu"]["sample"]) == 6
    assert by_name["oneday: counting"]["wrong"] == 1
