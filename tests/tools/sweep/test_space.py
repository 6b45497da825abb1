"""Axes in Optuna's words and back."""

import pytest

from tools.recipe.schema import Axis
from tools.sweep import space

AXES = {
    "train.learning_rate": Axis(log=[1e-4, 1e-2]),
    "train.lora_r": Axis(range=[4, 64]),
    "data.operators": Axis(values=[[], [{"dedup": "exact"}]]),
}
VALUES = {"train.learning_rate": 2e-3, "train.lora_r": 8, "data.operators": [{"dedup": "exact"}]}


def test_what_is_drawn_can_be_written_down_and_read_back() -> None:
    kinds = space.distributions(AXES)
    for key, param in space.params(AXES, VALUES).items():
        assert kinds[key]._contains(kinds[key].to_internal_repr(param)), key
    assert space.read(AXES, space.params(AXES, VALUES)) == VALUES
    assert type(kinds["train.lora_r"]).__name__ == "IntDistribution"


def test_a_drawn_number_is_short_enough_to_be_told() -> None:
    drawn = {**space.params(AXES, VALUES), "train.learning_rate": 0.00123456789}
    assert space.read(AXES, drawn)["train.learning_rate"] == 0.001235


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.learning_rate", 1.0),
        ("train.lora_r", 8.5),
        ("train.lora_r", True),
        ("data.operators", [1]),
    ],
)
def test_values_beside_the_axes_are_not_on_them(key: str, value: object) -> None:
    assert space.has(AXES, VALUES)
    assert not space.has(AXES, {**VALUES, key: value})
    assert not space.has(AXES, {})


def test_a_value_of_the_recipe_may_be_written_otherwise_than_on_its_axis() -> None:
    axes = {"data.sources.a.weight": Axis(values=[1, 2]), "train.weight_decay": Axis(values=[0.0])}
    own = {"data.sources.a.weight": 1.0, "train.weight_decay": 0}
    assert space.has(axes, own)
    assert space.params(axes, own) == {"data.sources.a.weight": "1", "train.weight_decay": "0.0"}
    assert not space.has(axes, {**own, "data.sources.a.weight": True})


def test_a_drawn_number_stays_between_ends_that_have_more_digits() -> None:
    axes = {"train.learning_rate": Axis(log=[0.00012344, 0.00098766])}
    for end, drawn in ((0.00012344, 0.000123441), (0.00098766, 0.000987659)):
        assert space.read(axes, {"train.learning_rate": drawn}) == {"train.learning_rate": end}


def test_values_are_told_by_short_names_where_these_differ() -> None:
    assert (
        space.text({"train.lora_r": 8, "train.learning_rate": 1e-4})
        == "lora_r=8 learning_rate=0.0001"
    )
    twins = {"data.sources.a.weight": 1.0, "data.sources.b.weight": 2.0}
    assert space.text(twins) == "data.sources.a.weight=1 data.sources.b.weight=2"


def test_combinations_are_all_and_in_order() -> None:
    axes = {"a": Axis(values=[1, 2]), "b": Axis(values=["x", "y"])}
    assert [tuple(one.values()) for one in space.combinations(axes)] == [
        (1, "x"), (1, "y"), (2, "x"), (2, "y"),
    ]  # fmt: skip
