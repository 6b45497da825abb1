"""Base beside tuned."""

import shutil

import pytest

from tools.report.gathered.judged.interval import wilson
from tools.report.gathered.judged.scores import graded, scores
from tools.report.gathered.source import Source
from tools.run.folder import Run


def test_scenarios_are_the_means_of_their_run_specs(whole: Run) -> None:
    found = scores(Source(whole))
    by_name = {each["scenario"]: each for each in found["scenarios"]}
    assert list(by_name) == ["mmlu", "oneday: counting"]
    mmlu, counting = by_name["mmlu"], by_name["oneday: counting"]
    assert (mmlu["base"], mmlu["tuned"]) == (0.25, 0.375) and mmlu["instances"] == 6
    assert (mmlu["gained"], mmlu["lost"], mmlu["verdict"]) == (1, 0, "")
    assert (counting["gained"], counting["lost"], counting["verdict"]) == (6, 0, "better")
    assert counting["trained"] and not mmlu["trained"] and found["tier"] == "tier"
    skills = found["means"]["trained skills"]
    assert (skills["base"], skills["tuned"]) == (0.125, 0.875)


def test_one_model_alone_is_shown_without_a_difference(whole: Run) -> None:
    shutil.rmtree(whole.output("eval_tuned"))
    found = scores(Source(whole))
    assert found["models"] == ["base"]
    assert {each["difference"] for each in found["scenarios"]} == {None}
    assert found["means"]["trained skills"]["base"] == 0.125


def test_every_score_has_an_interval_around_it(whole: Run) -> None:
    found = scores(Source(whole))
    for each in [*found["run_specs"], *found["scenarios"], *found["means"].values()]:
        for who in ("base", "tuned"):
            low, high = each["intervals"][who]
            assert 0 <= low <= each[who] <= high <= 1
        low, high = each["intervals"]["difference"]
        assert low <= each["tuned"] - each["base"] <= high
    (counting,) = [s for s in found["run_specs"] if s["name"].startswith("oneday")]
    assert counting["intervals"]["base"] == wilson(1 / 8, 8)


def test_without_the_questions_a_share_keeps_its_interval(whole: Run) -> None:
    for who in ("base", "tuned"):
        shutil.rmtree(whole.output(f"eval_{who}") / "benchmark_output")
    (counting,) = [s for s in scores(Source(whole))["run_specs"] if "counting" in s["name"]]
    assert counting["intervals"]["base"] == wilson(1 / 8, 8) and counting["gained"] is None


@pytest.mark.parametrize("metric, some", [("exact_match", False), ("rouge_2", True)])
def test_graded_metrics_know_more_than_right_and_wrong(metric: str, some: bool) -> None:
    assert graded(metric) is some
