"""Successive halving, whatever a trial is: a training, or a made-up surface in a test."""

from collections.abc import Callable

from tools.sweep.study import Study, Trial

Judge = Callable[[int, float], bool]  # rung, eval_loss: does the trial go on?
Attempt = Callable[[Trial, Judge], None]


class Broken(Exception):
    """A trial's training cannot be gone on with; the others can."""


class TimeUp(Exception):
    """What the sweep may use of the day is used up."""


def search(study: Study, attempt: Attempt, show: Callable[[], None] = lambda: None) -> bool:
    """Make what is missing of all trials, one after the other.

    Args:
        study: what was made before is in it.
        attempt: trains a trial; asks at each rung whether it goes on, and returns when it does not.
        show: called after whatever changed.

    Returns:
        Whether all were made; else their time was over.
    """
    try:
        while (trial := study.next()) is not None:
            show()
            _climb(study, attempt, trial, show)
    except TimeUp:
        return False
    return True


def _climb(study: Study, attempt: Attempt, trial: Trial, show: Callable[[], None]) -> None:
    def judge(rung: int, loss: float) -> bool:
        goes_on = study.tell(trial.number, rung, loss)
        show()
        return goes_on

    try:
        attempt(trial, judge)
    except Broken as broken:
        study.lose(trial.number, str(broken))
        show()
