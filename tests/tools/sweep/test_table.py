"""What is seen of a sweep."""

import io
import math

import pytest

from tools.recipe.schema import Axis, Sweep
from tools.sweep.study import Study, Trial
from tools.sweep.table import Table, line, panel, render

DONE = Trial(0, {"train.lora_r": 8}, (2.0, 1.5), "done")
LOST = Trial(1, {"train.lora_r": 4}, (2.5,), "lost")
BROKEN = Trial(2, {"train.lora_r": 64}, (math.inf,), "lost", "no memory\nat all")


def test_the_best_come_first_and_the_winner_is_named() -> None:
    assert render([BROKEN, LOST, DONE], DONE).splitlines() == [
        "trial  eval_loss at each rung             values",
        "0      2.0000 1.5000           winner     lora_r=8",
        "1      2.5000                  beaten     lora_r=4",
        "2      broken                  no memory  lora_r=64",
    ]


def test_a_line_tells_values_losses_step_and_what_is_left() -> None:
    assert line(LOST, "3 of 9", 61) == (
        "trial 1: lora_r=4: 2.5000, beaten, step 3 of 9, 0:01:01 left"
    )


def test_the_live_table_has_a_row_a_trial() -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=100)
    console.print(panel([DONE, LOST], {1: "3 of 9"}, 61))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "sweep, 0:01:01 left" in shown
    assert "3 of 9" in shown and "at the last rung" in shown and "2.0000 1.5000" in shown


def test_without_a_terminal_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(Sweep({"train.lora_r": Axis(values=[4, 8])}, 0.3, 2, 2, 2), "sqlite://", "a")
    table = Table(study, lambda: 60.0)
    study.next()
    table.hear(0, {"event": "begin", "step": 0, "total": 9})
    table.hear(0, {"event": "step", "step": 3})
    table.show()
    assert capsys.readouterr().out == "", "nothing is known of it yet"
    study.tell(0, 0, 2.0)
    table.show()
    table.show()
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "2.0000, goes on, step 3 of 9, 0:01:00 left" in out
    table.close()
