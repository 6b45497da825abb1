"""How weights are put into 4 bits: as the recipe trains."""

import dataclasses
from typing import Any

import pytest

from tests import tiny
from tools.stages.four_bits import double_quant


@pytest.mark.parametrize(
    ("options", "double"),
    [
        (None, True),
        ({"bnb_4bit_quant_type": "nf4"}, True),
        ({"bnb_4bit_use_double_quant": False}, False),
    ],
)
def test_scales_are_quantized_as_in_training(options: dict[str, Any] | None, double: bool) -> None:
    recipe = tiny.recipe()
    train = {**recipe.train, "bnb_config_kwargs": options}
    assert double_quant(dataclasses.replace(recipe, train=train)) is double
