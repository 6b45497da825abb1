"""What axes are drawn from, in Optuna's words and back."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from typing import TYPE_CHECKING, Any

from tools.recipe.axes import tried
from tools.recipe.schema import Axis

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Values = dict[str, Any]  # by full key of the recipe
DIGITS = 4  # of a drawn number: what is told is what was tried


def distributions(axes: dict[str, Axis]) -> "dict[str, BaseDistribution]":
    """What Optuna draws each axis from; values as JSON, for it keeps no lists."""
    from optuna import distributions as kinds

    found: dict[str, BaseDistribution] = {}
    for key, axis in axes.items():
        ends, log = tried(asdict(axis)), bool(axis.log)
        if axis.values:
            choices = [json.dumps(value, ensure_ascii=False) for value in axis.values]
            found[key] = kinds.CategoricalDistribution(choices)
        elif _whole(ends):
            found[key] = kinds.IntDistribution(ends[0], ends[1], log=log)
        else:
            found[key] = kinds.FloatDistribution(float(ends[0]), float(ends[1]), log=log)
    return found


def read(axes: dict[str, Axis], params: Values) -> Values:
    """What Optuna drew as values of the recipe."""
    return {key: _value(axis, params[key]) for key, axis in axes.items()}


def params(axes: dict[str, Axis], values: Values) -> Values:
    """Values of the recipe as if Optuna had drawn them."""
    return {
        key: json.dumps(_listed(axis, values[key]), ensure_ascii=False)
        if axis.values
        else values[key]
        for key, axis in axes.items()
    }


def has(axes: dict[str, Axis], values: Values) -> bool:
    """Whether values lie on the axes, as those of the recipe itself may."""
    return all(key in values and _on(axis, values[key]) for key, axis in axes.items())


def combinations(axes: dict[str, Axis]) -> Iterator[Values]:
    """All settings, in order; only where no axis is a range."""
    lists = [axis.values for axis in axes.values()]
    return (dict(zip(axes, one, strict=True)) for one in product(*lists))


def text(values: Values) -> str:
    """Values on one line, by the last part of their keys where that tells them apart."""
    ends = [key.rpartition(".")[2] for key in values]
    short = ends if len(set(ends)) == len(ends) else list(values)
    named = zip(short, values.values(), strict=True)
    return " ".join(f"{name}={_short(value)}" for name, value in named)


def _whole(ends: list[Any]) -> bool:
    return all(isinstance(end, int) for end in ends)


def _value(axis: Axis, drawn: Any) -> Any:
    if axis.values:
        return json.loads(drawn)
    if not isinstance(drawn, float):
        return drawn
    low, high = tried(asdict(axis))
    return min(max(float(f"{drawn:.{DIGITS}g}"), low), high)  # an end may have more digits


def _on(axis: Axis, value: Any) -> bool:
    if axis.values:
        return any(_same(value, one) for one in axis.values)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    low, high = tried(asdict(axis))
    return number and low <= value <= high and (isinstance(value, int) or not _whole([low, high]))


def _listed(axis: Axis, value: Any) -> Any:
    """A value as the axis writes it: a recipe's 1.0 is a list's 1, which are two texts."""
    return next(one for one in axis.values if _same(value, one))


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
