"""A tree as dataclasses: nested, by name, in lists, or nothing; numbers as asked for."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import pytest
from pydantic import TypeAdapter

from tools.recipe.compose import RECIPES, Composition
from tools.recipe.fill import fill
from tools.recipe.operators.declared import Count
from tools.recipe.schema import Recipe


@dataclass
class Inner:
    """A part."""

    share: float
    word: Literal["a", "b"] = "a"


class Step(TypedDict, total=False):
    """One of two."""

    one: Inner
    other: Inner


@dataclass
class Outer:
    """The whole."""

    count: Annotated[int, "bounds"]
    maybe: Inner | None = None
    named: dict[str, Inner] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    free: dict[str, Any] = field(default_factory=dict)


def test_everything_that_a_recipe_is_made_of() -> None:
    tree = {
        "count": 2.0,
        "maybe": {"share": 1, "word": "b"},
        "named": {"x": {"share": 0.5}},
        "steps": [{"one": {"share": 3}}],
        "free": {"any": [1, {"thing": None}]},
    }
    made = fill(Outer, tree)
    assert made == TypeAdapter(Outer).validate_python(tree)
    assert (type(made.count), type(made.maybe.share)) == (int, float)
    assert made == Outer(
        2, Inner(1.0, "b"), {"x": Inner(0.5)}, [{"one": Inner(3.0)}],
        {"any": [1, {"thing": None}]},
    )  # fmt: skip


def test_nothing_is_nothing() -> None:
    assert fill(Outer, {"count": 1, "maybe": None}) == Outer(1)
    assert fill(Count, 3) == 3


@pytest.mark.parametrize("name", ["4090", "a100", "cpu", "2x4090"])
def test_a_recipe_is_what_pydantic_makes_of_it(name: str) -> None:
    tree = {**Composition(RECIPES / f"{name}.yaml").resolve(), "name": name}
    assert fill(Recipe, tree) == TypeAdapter(Recipe).validate_python(tree)
