"""``quantize.format: auto``: what is taken, by card, engine, memory and need, and why."""

from pathlib import Path

import pytest

from tools.recipe import auto
from tools.recipe.compose import RECIPES
from tools.recipe.load import Loaded, load
from tools.recipe.show import show
from tools.recipe.written import settled

VLLM, LATENCY = "serve.engine=vllm", "quantize.need=latency"


def chosen(name: str, *sets: str) -> Loaded:
    return load(RECIPES / f"{name}.yaml", ["quantize.format=auto", *sets])


@pytest.mark.parametrize(
    ("name", "sets", "wanted", "why"),
    [
        ("4090", [], "int8", "for throughput on 4090 with transformers: 15.5 of 23.5 GiB"),
        ("4090", [LATENCY], "int8", "(none 22.0 would not fit)"),  # 92 % are 21.6 GiB
        ("4090", [VLLM], "fp8", "with vllm"),
        ("4090", [VLLM, LATENCY], "w4a16", "for latency on 4090 with vllm"),
        ("a100", [], "none", "for throughput on a100 with transformers: 22.0 of 39.35 GiB"),
        ("a100", [VLLM], "w8a8", "for throughput"),
        ("a100", [VLLM, LATENCY], "w4a16", "for latency"),
        ("a100", [VLLM, "hardware.capability='7.5'"], "w8a8", "for throughput"),
        ("a100", [VLLM, LATENCY, "hardware.capability='7.5'"], "none", "for latency"),
        ("a100", ["hardware.memory_gib=20"], "int8", "(none 22.0 would not fit)"),
        ("a100", ["hardware.memory_gib=14"], "nf4", "(none 22.0, int8 15.5 would not fit)"),
        ("a100", ["hardware.memory_gib=8"], "nf4", "it does not fit; lower serve.max_batch"),
        ("a100", ["hardware.memory_gib=14", "serve.max_batch=1"], "int8", "with 1 client"),
        ("a100", ["hardware.quantize_formats=[int8]"], "int8", "15.5 of"),
        ("cpu", [], "none", "on a CPU the worker unpacks every format"),
    ],
)
def test_what_is_taken(name: str, sets: list[str], wanted: str, why: str) -> None:
    found = chosen(name, *sets).recipe.quantize
    assert found.format == wanted, found.chosen
    assert found.chosen.startswith(f"{wanted}: ") and why in found.chosen


def test_a_model_without_numbers_is_chosen_for_without_memory(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        f"defaults: [{RECIPES}/4090]\nquantize: {{format: auto}}\nmodel: {{arch: null}}\n"
    )
    found = load(mine).recipe.quantize
    assert found.format == "none" and found.chosen.endswith("model.arch is missing")


def test_a_local_model_tells_its_own_numbers(tiny_model: Path) -> None:
    sets = ["model.source=local", f"model.path={tiny_model}", "hardware.memory_gib=2", LATENCY]
    assert "of 2 GiB" in chosen("4090", *sets).recipe.quantize.chosen
    assert chosen("4090", *sets).recipe.quantize.format == "none"


def test_who_names_the_same_format_has_made_the_same_model() -> None:
    taken, named = chosen("4090"), load(RECIPES / "4090.yaml", ["quantize.format=int8"])
    assert taken.recipe.quantize != named.recipe.quantize
    assert settled(taken.recipe) == settled(named.recipe)


def test_a_written_recipe_keeps_the_reason_until_the_format_changes(tmp_path: Path) -> None:
    loaded = chosen("4090")
    assert "format: int8  # --set: auto" in show(loaded)
    file = tmp_path / "4090.yaml"
    file.write_text(show(loaded), encoding="utf-8")
    assert load(file).recipe == loaded.recipe
    assert load(file, ["quantize.format=nf4"]).recipe.quantize.chosen == ""


def test_the_ranking_is_by_need() -> None:
    able = ["none", "fp8", "w8a16", "w8a8", "int8", "w4a16", "nf4"]
    recipe = load(RECIPES / "4090.yaml").recipe
    assert recipe.hardware.quantize_formats == able
    assert auto.ranked(recipe) == ["fp8", "w8a8", "none", "int8", "nf4"]
    recipe.quantize.need = "latency"
    assert auto.ranked(recipe) == ["w4a16", "w8a16", "none", "int8", "nf4"]
