"""Which of several to average: the best alone, then each that makes the mean better (greedy).

As in "Model soups" (Wortsman et al., 2022), with a loss in place of an accuracy.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Tried:
    """One member, and what it was found to be worth.

    Attributes:
        name: of the member.
        alone: its own loss.
        mean: loss of the mean of it and those that were kept before it.
        kept: whether it is a part of the mean.
    """

    name: str
    alone: float
    mean: float
    kept: bool


def choose(losses: dict[str, float], taste: Callable[[list[str]], float]) -> list[Tried]:
    """Try one member after the other, the best ones first.

    Args:
        losses: of each alone, by name; of equal ones the first named is tried first.
        taste: the loss of a mean of several.

    Returns:
        All of them as they were tried; the first is kept, for nothing is before it.
    """
    ranked = sorted(losses, key=lambda name: (not math.isfinite(losses[name]), losses[name]))
    tried: list[Tried] = []
    kept: list[str] = []
    best = math.inf
    for name in ranked:
        mean = taste([*kept, name]) if kept else losses[name]
        better = not kept or mean < best  # so put, NaN is not
        if better:
            kept, best = [*kept, name], mean
        tried.append(Tried(name, losses[name], mean, better))
    return tried


def kept(tried: list[Tried]) -> list[str]:
    """The names of those that make up the mean."""
    return [one.name for one in tried if one.kept]


def best(tried: list[Tried]) -> float:
    """The loss of their mean."""
    return [one.mean for one in tried if one.kept][-1]
