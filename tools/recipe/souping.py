"""The ``soup`` section of a recipe, as a dataclass; ``tools.check.rules.souped`` judges one."""

from dataclasses import dataclass, field
from typing import Literal

Average = Literal["product", "factors"]


@dataclass
class Soup:
    """Adapters that are averaged, where their mean is better than the run's own adapter.

    Attributes:
        checkpoints: how many of this training's last checkpoints may be taken; those that
            train.save_strategy asks for, not those that the clock adds.
        trials: how many of the sweep's trials that came to its last rung may be taken, the best
            first, beside the winner that training went on with.
        adapters: folders that PEFT has saved an adapter in, by name, as another run's ``adapter``.
        average: ``product`` is the mean of what the adapters change, exactly, by matrices side by
            side; ``factors`` averages the matrices A and B themselves, which is not the same, of
            adapters of one rank, and keeps that rank.
        min_gain: how much lower than the own adapter's the soup's eval_loss must be to take its
            place.
    """

    checkpoints: int = 0
    trials: int = 0
    adapters: dict[str, str] = field(default_factory=dict)
    average: Average = "product"
    min_gain: float = 0.0
