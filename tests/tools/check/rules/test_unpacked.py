"""Falcon in 4 bits, and adapters of tied heads that PEFT forgets."""

from typing import Any

import pytest

from tests.tiny import recipe
from tools.check.rules import unpacked
from tools.check.rules.targets import LAYERS
from tools.recipe.kinds import kind_of


@pytest.mark.parametrize("kind", LAYERS)
def test_the_kinds_that_stay_whole_are_those_of_transformers(kind: str) -> None:
    """``FalconLinear`` is the one subclass of ``nn.Linear`` among the layers of these models."""
    import torch
    from transformers import AutoConfig

    with torch.device("meta"):
        net = kind_of(kind).loader().from_config(AutoConfig.for_model(kind))
    subclassed = any(
        isinstance(module, torch.nn.Linear) and type(module) is not torch.nn.Linear
        for module in net.modules()
    )
    assert subclassed == (kind in unpacked._WHOLE)


FALCON = {"model__source": "hub", "model__family": "Falcon", "model__id": "tiiuae/falcon-7b"}


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ({"train": {"adapter": "qlora", "load_in_4bit": True}}, ["train.adapter"]),
        ({"train": {"adapter": "lora", "load_in_8bit": True}}, ["train.load_in_8bit"]),
        ({"quantize__format": "int8"}, ["quantize.format"]),
        ({"train": {"adapter": "lora"}}, []),
    ],
)
def test_falcon(values: dict[str, Any], keys: list[str]) -> None:
    made = recipe(**FALCON, **{"quantize__format": "none", **values})
    assert [fault.key for fault in unpacked.layers(made, {})] == keys
    other = {"model__family": "Bloom", "model__id": "bigscience/bloom-560m"}
    made = recipe(**FALCON | other, **{"quantize__format": "none", **values})
    assert not list(unpacked.layers(made, {}))


@pytest.mark.parametrize(("family", "faults"), [("GPT-2", 1), ("OPT", 0)])
def test_tied_heads(family: str, faults: int) -> None:
    train = {"lora_target_modules": ["fc1", "lm_head"], "peft_ensure_weight_tying": True}
    made = recipe(model__source="hub", model__family=family, model__id="a/b", train=train)
    assert len(list(unpacked.tied_heads(made, {}))) == faults
    train["lora_target_modules"] = ["fc1"]
    assert not list(unpacked.tied_heads(made, {}))
