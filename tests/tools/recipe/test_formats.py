"""The table of formats: what a recipe may name, and which card serves it."""

from typing import get_args

import pytest

from tools.axolotl.child import QUANTIZATION
from tools.plan.job import NF4_DOUBLE
from tools.recipe import schema
from tools.recipe.compose import RECIPES
from tools.recipe.formats import (
    FORMATS,
    GGUF,
    SERVED,
    capability,
    closest,
    made_of,
    not_made,
    runs,
    why_not,
)
from tools.recipe.load import load


def test_a_recipe_may_name_what_the_table_has() -> None:
    assert get_args(schema.Served) == SERVED
    assert get_args(schema.QuantFormat) == ("auto", *SERVED)
    assert set(SERVED) | set(GGUF) == set(FORMATS) and not set(SERVED) & set(GGUF)


def test_formats_are_listed_finest_first() -> None:
    whole = [name for name in SERVED if name != "int8_int4"]  # which is kept in 8 bits
    bits = [round(FORMATS[name].bits) for name in whole]
    assert bits == sorted(bits, reverse=True)
    assert FORMATS["nf4"].bits / 8 == pytest.approx(NF4_DOUBLE, rel=1e-3)
    assert {name for name, one in FORMATS.items() if one.tool == "axolotl"} == set(QUANTIZATION)


@pytest.mark.parametrize(
    ("name", "device", "has", "wanted"),
    [
        ("fp8", "cuda", "8.9", True),
        ("fp8", "cuda", "8.6", False),
        ("w4a16", "cuda", "8.0", True),
        ("w4a16", "cuda", "7.5", False),
        ("w8a8", "cuda", "7.5", True),
        ("int8", "cuda", "7.0", False),
        ("nf4", "cuda", "6.0", True),
        ("none", "cuda", "5.0", True),
        ("int8_int4", "cuda", "9.0", False),
        ("fp8", "cpu", "", True),
        ("nf4", "cpu", "", True),
    ],
)
def test_what_a_card_serves(name: str, device: str, has: str, wanted: bool) -> None:
    assert runs(name, device, has) is wanted


def test_why_a_card_does_not() -> None:
    assert why_not("fp8", "cuda") == "fp8 needs compute capability 8.9"
    assert why_not("fp8", "cpu") == "fp8 needs compute capability 8.9, a card"
    assert why_not("int8_int4", "cuda") == "int8_int4 computes on a CPU only"


@pytest.mark.parametrize(
    ("name", "known", "wanted"),
    [
        ("fp8", ["none", "int8", "nf4"], "int8"),
        ("fp8", ["w8a16", "w8a8", "nf4"], "w8a8"),  # both for throughput
        ("w4a16", ["none", "int8", "nf4"], "nf4"),
        ("fp8", ["none"], "none"),
    ],
)
def test_the_closest(name: str, known: list[str], wanted: str) -> None:
    assert closest(name, known) == wanted


def test_a_capability_is_read() -> None:
    assert [capability(text) for text in ("8.9", "10.0", "9", "", "new", "8.x")] == [
        (8, 9), (10, 0), (9, 0), (0, 0), (0, 0), (0, 0),
    ]  # fmt: skip


CARDS = sorted(path.stem for path in (RECIPES / "hardware").glob("*.yaml"))


@pytest.mark.parametrize("name", CARDS)
def test_the_table_by_card_is_what_its_capability_serves(name: str) -> None:
    path = RECIPES / f"{name}.yaml"
    overrides = [] if path.is_file() else ["hardware.gpus=2"]
    card = load(path if path.is_file() else RECIPES / "cpu.yaml", overrides).recipe.hardware
    able = [one for one in SERVED if runs(one, card.device, card.capability)]
    assert card.quantize_formats == able


def test_there_are_cards() -> None:
    assert set(CARDS) >= {"4090", "a100", "cpu"}


def test_bitsandbytes_alone_makes_formats_of_any_kind() -> None:
    every = {name for name in FORMATS if made_of(name, "encoder")}
    assert every == {"none", "int8", "nf4"} and all(made_of(name, "causal") for name in FORMATS)
    assert not_made("w4a16") == "w4a16 is made by llm-compressor, here of causal models"
