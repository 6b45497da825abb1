"""A sweep as it is watched: one live table on a terminal, a line for each rung elsewhere."""

import math
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tools.console import duration, say
from tools.sweep.space import text
from tools.sweep.study import Study, Trial
from tools.trainers.child import Event

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

COLUMNS = ("trial", "values", "step", "eval_loss at each rung", "")


class Table:
    """Shows a study while it grows.

    Args:
        study: whose trials are shown.
        left: seconds that the sweep may still use.
    """

    def __init__(self, study: Study, left: Callable[[], float]) -> None:
        self._study, self._left = study, left
        self._steps: dict[int, str] = {}
        self._said: dict[int, Trial] = {}
        self._rows = study.trials()
        self._live = self._start() if _terminal() else None

    def hear(self, number: int, event: Event) -> None:
        """Take in what the trainer of a trial tells."""
        if event["event"] == "begin":
            self._steps[number] = f"{event['step']} of {event['total']}"
        elif event["event"] == "step":
            total = self._steps.get(number, "").rpartition(" ")[2]
            self._steps[number] = f"{event['step']} of {total}"

    def show(self) -> None:
        """Show what has changed in the study."""
        self._rows = self._study.trials()
        for one in self._rows:
            if self._live is None and self._said.get(one.number) != one and one.told:
                say(f"sweep: {line(one, self._steps.get(one.number, ''), self._left())}")
            self._said[one.number] = one

    def close(self) -> None:
        """Leave the last view standing."""
        if self._live is not None:
            self._live.stop()

    def _start(self) -> "Live":
        from rich.console import Console  # here: without a terminal rich is never loaded
        from rich.live import Live

        live = Live(
            get_renderable=lambda: panel(self._rows, self._steps, self._left()),
            console=Console(stderr=True),
        )
        live.start()
        return live


def _terminal() -> bool:
    encoding = (sys.stderr.encoding or "").lower()
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and encoding.startswith("utf")


def line(trial: Trial, step: str, left: float) -> str:
    """A trial in one line.

    Args:
        trial: one that was told something.
        step: of how many, where that is known.
        left: seconds that the sweep may still use.
    """
    at = f", step {step}" if step else ""
    return f"trial {trial.number}: {text(trial.values)}: {_told(trial)}, {_state(trial)}{at}, " + (
        f"{duration(left)} left"
    )


def render(trials: list[Trial], best: Trial | None) -> str:
    """All trials, the best ones first."""
    rows = [("trial", "eval_loss at each rung", "", "values")]
    for one in sorted(trials, key=lambda one: one.rank):
        state = "winner" if best and one.number == best.number else _state(one)
        rows.append((str(one.number), _told(one), state, text(one.values)))
    wide = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, wide, strict=False)), row[3]])
        for row in rows
    )


def panel(trials: list[Trial], steps: dict[int, str], left: float) -> "RenderableType":
    """The live table."""
    from rich.table import Table as Rich
    from rich.text import Text

    made = Rich(title=Text(f"sweep, {duration(left)} left"), title_justify="left")
    for name in COLUMNS:
        made.add_column(name)
    for one in trials:
        cells = (str(one.number), text(one.values), steps.get(one.number, ""), _told(one))
        made.add_row(*map(Text, (*cells, _state(one))))
    return made


def _told(trial: Trial) -> str:
    return " ".join(f"{loss:.4f}" if math.isfinite(loss) else "broken" for loss in trial.told)


def _state(trial: Trial) -> str:
    if trial.reason:
        return trial.reason.splitlines()[0]
    return {"running": "goes on", "done": "at the last rung", "lost": "beaten"}[trial.state]
