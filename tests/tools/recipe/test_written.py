"""A recipe written to a file: whatever its texts hold, it reads back as the same recipe."""

import dataclasses

from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tests.tiny import recipe
from tools.recipe.operators.declared import Deny
from tools.recipe.schema import Architecture, Encoder
from tools.recipe.written import model_values, settled, text, tree

PIECES = ["\\", "${", "}", "$", "{", "a", ".", ":", " ", "\n", "#", "'", '"', "1e-4", "???", "é"]


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
@example("\\???")
@example("\\\\???")
def test_every_text_reads_back(odd: str) -> None:
    made = recipe(train={"a": odd, "b": [odd, {"c": odd}], "d": [1, 1e-5, True, None]})
    read = OmegaConf.to_container(OmegaConf.create(text(made)), resolve=True)
    assert read == tree(made)


def test_only_what_would_be_a_reference_is_escaped() -> None:
    plain = recipe(train={"windows": "C:\\runs", "price": "$5 {net}"})
    assert "windows: C:\\runs\n" in text(plain) and "price: $5 {net}\n" in text(plain)
    assert "a: \\${b}\n" in text(recipe(train={"a": "${b}"}))


def test_every_key_that_came_later_is_silent_by_default() -> None:
    found = settled(recipe())["data"]
    assert found.keys() == {
        "sources", "seed", "shots", "validation_rows", "test_rows", "max_words",
    }  # fmt: skip
    assert found["sources"]["counting"].keys() == {
        "kind", "path", "licence", "origin", "rows", "prompt", "completion", "subset", "split",
        "revision",
    }  # fmt: skip


def test_a_newer_key_that_says_nothing_makes_no_other_recipe() -> None:
    plain = recipe()
    assert "operators" not in settled(plain)["data"]["sources"]["counting"]
    plain.data.sources["counting"].operators = [{"deny": Deny("a", ["b"])}]
    said = settled(plain)["data"]["sources"]["counting"]["operators"]
    assert said == [{"deny": {"column": "a", "values": ["b"]}}]


def test_experts_that_are_none_are_silent() -> None:
    numbers = Architecture(64, 2, 96, 300, 4, 2, tied=False)
    dense = settled(recipe(model__arch=numbers))["model"]["arch"]
    assert not {"experts", "experts_used", "shared_mlp"} & dense.keys()
    mixture = dataclasses.replace(numbers, experts=4, experts_used=2)
    said = settled(recipe(model__arch=mixture))["model"]["arch"]
    assert (said["experts"], said["experts_used"]) == (4, 2)


def test_an_encoder_that_is_none_is_silent() -> None:
    numbers = Architecture(64, 2, 96, 300, 4, 2, tied=False)
    assert "encoder" not in settled(recipe(model__arch=numbers))["model"]["arch"]
    numbers.encoder = Encoder("bert", types=2)
    assert settled(recipe(model__arch=numbers))["model"]["arch"]["encoder"]["types"] == 2


def test_every_key_of_serve_that_came_later_is_silent_by_default() -> None:
    plain = recipe()
    later = {"chat_overflow", "body_s", "name", "cors", "capital_letters"}
    assert not later & settled(plain)["serve"].keys()
    plain.serve.name = "org/tiny"
    assert settled(plain)["serve"]["name"] == "org/tiny"


def test_every_key_of_quantize_that_came_later_is_silent_by_default() -> None:
    plain = recipe()
    assert settled(plain)["quantize"] == {
        "format": "nf4", "max_perplexity_ratio": 1.3, "perplexity_rows": 4,
    }  # fmt: skip
    plain.quantize.keep, plain.quantize.max_kl = True, 0.5
    assert settled(plain)["quantize"]["keep"] is True
    assert settled(plain)["quantize"]["max_kl"] == 0.5


def test_every_key_of_merge_that_came_later_is_silent_by_default() -> None:
    plain = recipe()
    assert settled(plain)["merge"] == {"method": "plain", "max_logit_error": 1e-3}
    plain.merge.combine = "ties"
    assert settled(plain)["merge"]["combine"] == "ties"


def test_every_key_of_model_that_came_later_is_silent_by_default() -> None:
    plain = recipe()
    assert not {"kind", "head"} & settled(plain)["model"].keys()
    assert model_values(plain.model).keys() == settled(plain)["model"].keys()
    plain.model.kind, plain.model.head = "encoder", "new"
    assert settled(plain)["model"]["kind"] == model_values(plain.model)["kind"] == "encoder"
    assert settled(plain)["model"]["head"] == "new"
