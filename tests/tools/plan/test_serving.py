"""The formats of a plan: sizes, clients, time to make, and which is the recipe's."""

import json
import re
from pathlib import Path

import pytest

from tools.plan import serving
from tools.plan.serving import Offer
from tools.plan.verdict import as_json, plan, render
from tools.recipe.compose import RECIPES
from tools.recipe.formats import GGUF
from tools.recipe.load import load


def planned(name: str, *sets: str) -> dict[str, Offer]:
    found = plan(load(RECIPES / f"{name}.yaml", sets).recipe, Path("nowhere"))
    return {one.name: one for one in found.offers}


def test_the_card_decides_which() -> None:
    four, a100, cpu = (planned(name) for name in ("4090", "a100", "cpu"))
    assert list(four) == ["none", "fp8", "w8a16", "w8a8", "int8", "w4a16", "nf4", *GGUF]
    assert "fp8" not in a100 and "int8_int4" not in a100 and "int8_int4" in cpu
    assert [one.name for one in four.values() if one.chosen] == ["int8"]
    assert [one.name for one in a100.values() if one.chosen] == ["int8"]


def test_sizes_are_those_of_the_files() -> None:
    """SmolLM2-135M in NF4 as ``make quantize HW=cpu`` leaves it, and as a Q8_0 of llama.cpp."""
    cpu = planned("cpu", "quantize.format=nf4")
    assert cpu["nf4"].disk == pytest.approx(168.6e6, rel=0.01)
    assert cpu["Q8_0"].disk == pytest.approx(144.8e6, rel=0.03)


def test_clients_cost_their_cache() -> None:
    found = planned("4090")["int8"]
    assert list(found.memory) == [1, 8, 32]
    sizes = list(found.memory.values())
    assert sizes == sorted(sizes) and (sizes[2] - sizes[1]) / 24 == pytest.approx(
        (sizes[1] - sizes[0]) / 7
    )
    assert list(planned("4090", "serve.max_batch=8")["int8"].memory) == [1, 8]


def test_time_to_make_is_the_published_one() -> None:
    """Of an 8 B model: NF4 a minute, GPTQ half an hour; the gate's passes come on top."""
    four = planned("4090")
    assert four["none"].seconds == 0
    assert 45 < four["nf4"].seconds < 75 and 1500 < four["w4a16"].seconds < 1900
    assert four["fp8"].seconds < four["nf4"].seconds
    more = planned("4090", "quantize.perplexity_rows=640")["nf4"].seconds
    assert more > four["nf4"].seconds


def test_the_table_marks_the_recipes_own() -> None:
    found = plan(load(RECIPES / "a100.yaml", ["quantize.format=auto"]).recipe, Path("nowhere"))
    text = render(found)
    assert re.search(r"^\* none .*quantize\.format$", text, re.MULTILINE)
    assert "GiB to serve 1, 8, 32 clients of 2,048 tokens" in text
    assert "* quantize.format auto takes none: for throughput on a100" in text
    assert re.search(r"^  w8a8 .*llm-compressor; unpacked by transformers$", text, re.MULTILINE)
    assert re.search(r"^  Q8_0 .*make export TYPE=Q8_0$", text, re.MULTILINE)


def test_for_programs() -> None:
    found = plan(load(RECIPES / "cpu.yaml").recipe, Path("nowhere"))
    read = json.loads(json.dumps(as_json(found)))["formats"]
    assert [one["name"] for one in read if one["chosen"]] == ["nf4"]
    assert all(isinstance(one["disk"], int) and one["memory"]["1"] > 0 for one in read)
    assert {one["unpacked"] for one in read if one["tool"] == "bitsandbytes"} == {True}


def test_a_format_the_card_does_not_serve_is_no_offer() -> None:
    assert not any(one.chosen for one in planned("a100", "quantize.format=fp8").values())
    assert serving.render([], load(RECIPES / "cpu.yaml").recipe)
