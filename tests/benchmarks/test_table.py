"""Figures of samples, medians, and goals met or not."""

import pytest

from benchmarks.client import Sample
from benchmarks.table import ROWS, Goal, figures, quantile, table, verdicts

RESULTS = {
    "ours": {"a550": [{"req_s": 9.0}, {"req_s": 1.0}, {"req_s": 8.0}], "e": [{"p50_one": 0.4}]},
    "2023": {"a550": [{"req_s": 1.0}, {"req_s": 1.0}, {"req_s": 1.0}]},
}
TITLES = {"a550": "(a) choice", "e": "(e) mix"}


def test_figures_of_a_run() -> None:
    samples = [Sample(0.0, 2.0, {}), Sample(1.0, 1.0, {}), Sample(2.0, 2.0, {})]
    found = figures(samples, new=[10, 1, 9], asked=[10, 1, 64])
    assert found["req_s"] == pytest.approx(0.75) and found["tok_s"] == pytest.approx(5.0)
    assert found["p50"] == 2.0 and found["p50_one"] == 1.0 and found["tokens"] == 9


def test_quantiles() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.95, 0.99, 1)] == [50, 95, 99, 100]
    assert quantile([7.0], 0.5) == 7


def test_medians_decide_about_goals() -> None:
    found = {(v["load"], v["goal"]): (v["value"], v["met"]) for v in verdicts(RESULTS)}
    assert found == {("a550", ">= 8 x 2023"): (8.0, True), ("e", "< 0.3"): (0.4, False)}


def test_table_shows_ratios_and_verdicts() -> None:
    lines = table(RESULTS, TITLES).splitlines()
    assert [cell.strip() for cell in lines[0].split("|")][1:-1] == [
        "load", "figure", "ours", "2023", "ours / 2023", "goal",
    ]  # fmt: skip
    choice, mix = lines[2:]
    assert "8.00" in choice and ">= 8 x 2023: met" in choice
    assert ">= 1 x llama.cpp: not measured" in choice
    assert "< 0.3: NOT MET" in mix and "(e) mix" in mix


def test_every_goal_of_the_issue_is_there() -> None:
    goals = [(row.load, row.figure, goal) for row in ROWS for goal in row.goals]
    assert goals == [
        ("a550", "req_s", Goal("2023", 8)),
        ("a550", "req_s", Goal("llama.cpp", 1)),
        ("a1900", "req_s", Goal("2023", 8)),
        ("a1900", "req_s", Goal("llama.cpp", 1)),
        ("b", "req_s", Goal("2023", 4)),
        ("b", "tokenize_p99", Goal(below=50)),
        ("c1", "tok_s", Goal("2023", 1.3)),
        ("c16", "tok_s", Goal("2023", 8)),
        ("e", "p50_one", Goal(below=0.3)),
    ]
