"""The editor's schema: stored as made, true of every recipe shipped, false of what is misspelt."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from omegaconf import OmegaConf

from tools.recipe.axolotl_schema import OWNED
from tools.recipe.compose import RECIPES
from tools.recipe.editor_schema import STORED, docstring, generate, shape
from tools.recipe.load import SHAPE

SCHEMA: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
FILES = sorted(file for file in RECIPES.rglob("*.yaml") if file.name != "rules.yaml")


def faults(text: str) -> list[str]:
    values: Any = OmegaConf.to_container(OmegaConf.create(text))
    return [error.message for error in Draft7Validator(SCHEMA).iter_errors(values)]


def test_stored_is_regenerated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("AXOLOTL_DO_NOT_TRACK", "1")
    assert json.loads(json.dumps(generate())) == SCHEMA, "run: python -m tools.recipe.editor_schema"


def test_the_shape_that_recipes_are_held_against_is_regenerated() -> None:
    stored = json.loads(SHAPE.read_text(encoding="utf-8"))
    assert json.loads(json.dumps(shape())) == stored, "run: python -m tools.recipe.editor_schema"


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert STORED.stat().st_size < 300_000


def test_every_file_was_seen() -> None:
    assert len(FILES) >= 50


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(RECIPES).as_posix())
def test_every_recipe_is_right(file: Path) -> None:
    assert faults(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "trainn: {lora_r: 8}",
        "train: {lora_rr: 8}",
        "budget: {huors: 24}",
        "data: {sources: {x: {kindd: hub}}}",
        "serve: {rules: {gsm: {match: {promt: x}}}}",
        "train: {lora_r: eight}",
        "quantize: {format: fp9}",
        "train: {output_dir: out}",
        "defaults: cpu",
        "defaults: '${mine}'",
        "defaults: [{}]",
        "defaults: null",
        "train: {lora_target_modules: none of a list, plugins: none of a list}",
        "data: {sources: no mapping}",
        "train: {lr_groups: [null]}",
        "model: {kind: masked}",
    ],
)
def test_what_is_wrong_is_underlined(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "defaults: [4090, mine]",
        "train: {lora_r: '${budget.hours}', optimizer: null}",
        "quantize: {format: '${serve.weights}'}",
        "data: {sources: null}",
        "model: {arch: {hidden: 4096}}",
        "train: {liger_rope: true}",
        "train: '${mine}'",
        "train: {plugins: '${mine}', lr_groups: '${mine}'}",
        "train: {plugins: ['${mine}'], peft_layers_to_transform: ['${budget.hours}']}",
        "train: {lr_groups: ['${mine}'], lora_rank_pattern: {a: '${train.lora_r}'}}",
        "hardware: {quantize_formats: ['${quantize.format}']}",
        "data: {sources: '${mine}'}",
        "model: {kind: '${mine}'}",
        "data: {sources: {x: '${data.sources.y}'}}",
        "eval: {tiers: {mine: '${eval.tiers.quick}'}}",
        "serve: {rules: {x: {stop: '${serve.rules.y.stop}', match: '${serve.rules.y.match}'}}}",
    ],
)
def test_what_a_layer_may_be(text: str) -> None:
    assert faults(text) == []


def test_keys_are_explained() -> None:
    train, sections = SCHEMA["$defs"]["Train"]["properties"], SCHEMA["$defs"]
    assert not train.keys() & OWNED.keys()
    assert sum("description" in part for part in train.values()) > 250
    ours = ["Budget", "Hardware", "Model", "Source", "Data", "Merge", "Quantize", "Eval"]
    for name in [*ours, "Train", "ServeConfig", "Rule", "Match", "Architecture"]:
        assert sections[name]["description"]
    source, serve = sections["Source"]["properties"], sections["ServeConfig"]["properties"]
    assert source["origin"]["description"].startswith("who made the rows")
    assert all("description" in part for part in [*source.values(), *serve.values()])


def test_names_of_files_are_offered() -> None:
    names = SCHEMA["properties"]["defaults"]["items"]["anyOf"][0]["enum"]
    assert {"base", "hardware/4090", "models/mistral-7b"} <= set(names) and "rules" not in names


def test_docstring() -> None:
    text = (
        "What it\nis.\n\nMore.\n\nAttributes:\n    one: first\n        of all.\n    two: ``x``: y."
    )
    assert docstring(text) == {"": "What it is.", "one": "first of all.", "two": "`x`: y."}
    assert docstring("Alone.") == {"": "Alone."}
