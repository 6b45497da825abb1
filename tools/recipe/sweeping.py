"""The ``sweep`` section of a recipe, as dataclasses; what is wrong in one, ``axes`` says."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class Axis:
    """What a key is tried with: one of the three.

    Attributes:
        values: these.
        range: from the first number to the second; whole numbers where both are written so.
        log: the same, a tenth as likely to be tried as ten times as much.
    """

    values: list[Any] = field(default_factory=list)
    range: list[Any] = field(default_factory=list)
    log: list[Any] = field(default_factory=list)


@dataclass
class Sweep:
    """A search for the values to train with, within the day.

    Attributes:
        axes: what is tried, by full key of the recipe; ``layers`` is tried with names of files
            that are laid over the recipe.
        share: of the time that training has, what trials may use of it, more than 0, less than 1.
        trials: how many settings are tried.
        keep: of the trials that reach a rung, one in so many goes on to the next.
        rungs: how often trials are held against one another; each rung is ``keep`` times as far as
            the one before it.
        first: how far the first rung is, as a share of a whole training; 0: as far as ``share``
            allows by the plan.
        sampler: who draws the values: ``tpe`` learns from the trials before, ``random`` does not,
            ``grid`` goes through all combinations of values.
        seed: of what is drawn.
        seeds: with how many seeds, the search's own among them, the winner and the recipe's own
            values are trained to the last rung and compared by the mean; 1: none but that.
        database: URL of the database that keeps the trials, as Optuna takes it; empty: a file in
            the run folder.
        chosen: what the sweep found, by full key; written as a recipe is read, not to be set.
        work: which sweep found it; as ``chosen``. A recipe that has it, as a run folder's
            ``recipe.yaml``, is not searched for again.
    """

    axes: dict[str, Axis]
    share: float = 0.3
    trials: int = 9
    keep: int = 3
    rungs: int = 3
    first: float = 0.0
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    seed: int = 17
    seeds: int = 1
    database: str = ""
    chosen: dict[str, Any] = field(default_factory=dict)
    work: str = ""
