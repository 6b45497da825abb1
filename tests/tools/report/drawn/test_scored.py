"""Scores and another run as tables."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

from tests.tools.report.conftest import HOSTILE
from tools.report.drawn import scored
from tools.report.drawn.html import join
from tools.report.gathered.judged.scores import scores
from tools.report.gathered.judged.versus import versus
from tools.report.gathered.source import Source
from tools.run.folder import Run


class Cells(HTMLParser):
    """The texts of a table's cells, row by row."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_the_verdict_stands_first_and_every_score_has_its_interval(whole: Run) -> None:
    made = join(scored.scores(scores(Source(whole))))
    heads, *rows = Cells(made.split("</table>")[0]).rows
    assert heads[:2] == ["verdict", "scenario"]
    assert {row[1]: row[0] for row in rows} == {
        "mmlu": "unclear",
        "oneday: counting trained": "better",
    }
    for row in rows:
        assert all(
            re.fullmatch(r"[+−]?\d\.\d{3}[+−]?\d\.\d{3} to [+−]?\d\.\d{3}", c) for c in row[3:6]
        )
    assert made.count('scope="row"') >= 2 and '<td><b title="by chance' in made


def test_a_score_without_an_interval_and_a_verdict_that_is_not_known(whole: Run) -> None:
    shutil.rmtree(whole.output("eval_tuned"))
    made = join(scored.scores(scores(Source(whole))))
    assert "Only the base model was evaluated." in made and "not known question by question" in made


def test_another_run_s_name_and_values_stay_texts(whole: Run, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "before")
    part = versus(Source(whole, (), Source(Run(whole.recipe, tmp_path))))
    assert "recipes are the same" not in join(scored.versus({**part, "recipe": [_changed()]}))
    made = join(scored.versus({**part, "with": HOSTILE, "recipe": [_changed()]}))
    assert "<script>" not in made and "<img" not in made and "&lt;script&gt;" in made
    assert "not recorded" in join(scored.versus(part))
    same = join(scored.versus({**part, "recipe": [], "scenarios": []}))
    assert "the recipes are the same" in same and "No question was put to both" in same


def _changed() -> dict[str, object]:
    return {"key": "data.prompt", "before": HOSTILE, "after": ["x" * 999]}
