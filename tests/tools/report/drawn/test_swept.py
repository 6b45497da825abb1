"""The sweep's section: its pictures, their words, its line of cost and gain."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_run
from tests.tools.report.conftest import SWEEP
from tests.tools.report.conftest import sweep as make
from tools.report.drawn.html import join
from tools.report.drawn.swept import sweep
from tools.report.gathered.source import Source
from tools.report.gathered.swept import sweep as part_of
from tools.report.write import report


def shown(root: Path, **how: Any) -> str:
    run = make_run(root, sweep=SWEEP)
    make(run, **how)
    return unescape(join(sweep(part_of(Source(run)))))


def test_one_line_says_cost_and_gain(tmp_path: Path) -> None:
    made = shown(tmp_path)
    assert "<p>4 trials in 0:06:00, 0.4% of the day. After 9.0% of a training" in made
    assert (
        "eval_loss is 1.200, that of the recipe without the sweep 1.600: −0.400 (−25.0 %)" in made
    )


@pytest.mark.parametrize(
    ("own", "said"), [(2, "gained nothing but to know that"), (None, "were not tried, or broke")]
)
def test_where_nothing_was_gained_it_says_so(own: int | None, said: str, tmp_path: Path) -> None:
    assert said in shown(tmp_path, own=own)


def test_what_other_seeds_say_is_told_with_its_interval(tmp_path: Path) -> None:
    run = make_run(tmp_path, sweep=SWEEP)
    make(run)
    finalists = [
        {"trial": 2, "eval_loss": [1.2, 1.4], "mean": 1.3},
        {"trial": 0, "eval_loss": [1.6, None], "mean": None},
    ]
    told = {"seeds": [1, 2], "finalists": finalists, "gain": None, "half": None}
    part = {**part_of(Source(run)), "seeds": {**told, "verdict": "the other one broke"}}
    said = "2 seeds trial 2's mean is 1.3000 (1.2000, 1.4000) and trial 0's mean is – (1.6000, –)."
    assert f"{said} the other one broke." in unescape(join(sweep(part)))
    part["seeds"] |= {"gain": 0.4, "half": 0.9, "verdict": "not more than noise"}
    assert "The difference is 0.4000, give or take 0.9000 (95 %" in unescape(join(sweep(part)))


def test_both_pictures_have_words_for_who_cannot_see_them(tmp_path: Path) -> None:
    made = shown(tmp_path)
    over_time, values = re.findall(r"<desc[^>]*>(.*?)</desc>", made, re.DOTALL)
    assert (
        'trial 2 (learning_rate=0.003, order="shuffled", layers=["a", "b"]): 3 points' in over_time
    )
    assert "from 1.900 at minutes of the trial 0.666667 to 1.200 at 2" in over_time
    assert values.startswith("3 trials over 3 axes. The winner, trial 2 (")
    assert "came to 1.200; the losses go from 1.200 to 2.500" in values


def test_the_winner_is_drawn_last_and_the_recipes_own_has_a_style(tmp_path: Path) -> None:
    made = shown(tmp_path)
    assert re.findall(r'class="curve (\w+)"', made) == ["raw", "own", "main"] * 2
    assert re.findall(r'class="key (\w+)"', made) == ["main", "own", "raw"]


def test_every_trial_is_in_the_table_with_why_it_ended(tmp_path: Path) -> None:
    made = shown(tmp_path)
    states = re.findall(r"<tr><th scope=\"row\">(\d)</th><td>(.*?)</td>", made)
    assert [number for number, _ in states] == ["2", "0", "1", "3"]
    assert [state.split(" <")[0] for _, state in states] == [
        "winner", "the recipe's own, at the last rung", "beaten", "broke: no memory",
    ]  # fmt: skip


def test_times_that_are_not_known_are_no_picture(tmp_path: Path) -> None:
    made = shown(tmp_path, timed=False)
    assert "chart-trials" not in made and "chart-values" in made
    assert "is not known: the sweep is of an older version" in made


def test_the_page_has_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, sweep=SWEEP)
    make(run)
    page = report(run).read_text(encoding="utf-8")
    assert '<section id="sweep"' in page and page.count("chart-values-told") == 2
    assert "<script>alert(1)" not in page
