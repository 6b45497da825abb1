"""Kinds: what a family's name and its config.json say, and which keys mean something."""

import pytest

from tools.recipe.axolotl_schema import train_schema
from tools.recipe.kinds import KINDS, TRAIN_KEYS, family_kind, window, without_meaning


def test_the_keys_are_axolotls() -> None:
    assert train_schema()["properties"].keys() >= TRAIN_KEYS


def test_axolotl_understands_all() -> None:
    assert without_meaning(KINDS["causal"], {"sample_packing": True, "odd": 1}) == {}


def test_a_slip_is_told_with_the_nearest() -> None:
    found = without_meaning(KINDS["seq2seq"], {"learning_rat": 1, "lora_r": 4})
    assert found.keys() == {"learning_rat"}
    assert found["learning_rat"].endswith("did you mean learning_rate?")


@pytest.mark.parametrize(
    ("family", "name"),
    [("T5", "seq2seq"), ("UL2", "seq2seq"), ("RoBERTa", "encoder"), ("DistilBERT", "encoder"),
     ("Llama 2", None), ("Mistral", None)],
)  # fmt: skip
def test_families(family: str, name: str | None) -> None:
    found = family_kind(family)
    assert (found.name if found else None) == name


def test_roberta_counts_from_its_padding_on() -> None:
    config = {"model_type": "roberta", "max_position_embeddings": 514}
    assert window(config) == window({**config, "pad_token_id": 1}) == 512
    assert window({**config, "pad_token_id": 0}) == 513
    assert window({}) == window({"model_type": "roberta"}) == 0
