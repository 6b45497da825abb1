"""Single questions on the page."""

from tests.tools.report.conftest import HOSTILE
from tools.report.drawn import answered
from tools.report.drawn.html import join
from tools.report.gathered.judged.changes import changes
from tools.report.gathered.source import Source
from tools.run.folder import Run


def test_lost_before_won_and_no_question_becomes_markup(whole: Run) -> None:
    part = changes(Source(whole))
    made = join(answered.changes(part))
    assert "Tuning lost 0 questions and won 7" in made
    assert "Lost: the base did better (0 of 0 shown)" in made
    assert made.index("Lost: the base") < made.index("Won: the tuned")
    assert HOSTILE not in made and "<script" not in made and "&lt;script&gt;" in made
    assert "Won: the tuned model does better (5 of 6 shown)" in made and "The ids" in made
    assert ">oneday:skill=counting, id0</li>" in made


def test_of_graded_answers_nothing_is_called_wrong(whole: Run) -> None:
    part = changes(Source(whole))
    assert "> wrong<" in join(answered.changes(part))
    for each in part["scenarios"]:
        each["graded"] = True
    made = join(answered.changes(part))
    assert "> wrong<" not in made and "> 0.00<" in made
