"""What is told of models that are not causal before anything is trained; the smallest folders."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests import kin
from tests.tiny import changed, maker, recipe
from tools.check.rules import config_json, kinds, training
from tools.check.rules.base import Fault
from tools.recipe.schema import Recipe, Source

TRAIN = {"adapter": "lora", "learning_rate": 1e-3}


def told(rule: Any, made: Recipe) -> list[Fault]:
    return list(rule(made, {"max_tokens": 2048}))


def local(folder: Path, config: dict[str, Any], **values: Any) -> Recipe:
    (folder / "config.json").write_text(json.dumps(config))
    return recipe(model__path=str(folder), **values)


@pytest.mark.parametrize("kind", ["seq2seq", "encoder"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sample_packing", True), ("sdpa_varlen", True), ("context_parallel_size", 2),
        ("chat_template", "chatml"), ("load_in_4bit", True), ("plugins", ["mine.Plugin"]),
        ("cut_cross_entropy", True), ("fsdp_config", {"a": 1}),
    ],
)  # fmt: skip
def test_a_key_without_a_meaning_is_refused_by_name(kind: str, key: str, value: Any) -> None:
    (fault,) = told(kinds.keys, recipe(model__kind=kind, train={**TRAIN, key: value}))
    assert fault.key == f"train.{key}" and fault.verdict == "fail"
    assert f"train.{key} has no meaning for" in fault.message
    assert f"(model.kind {kind})" in fault.message and fault.remedy == f"--set '~train.{key}'"
    assert told(kinds.keys, recipe(train={**TRAIN, key: value})) == []  # Axolotl's own model


def test_packing_is_told_of_once() -> None:
    made = recipe(model__kind="seq2seq", train={**TRAIN, "sample_packing": True})
    rules = (kinds.keys, training.packing, training.evaluation_packing)
    assert [fault.key for rule in rules for fault in told(rule, made)] == ["train.sample_packing"]


def test_what_turns_something_off_is_true_anyhow() -> None:
    off: dict[str, Any] = {
        "sample_packing": False,
        "deepspeed": None,
        "plugins": [],
        "chat_template": "",
    }
    assert told(kinds.keys, recipe(model__kind="seq2seq", train={**TRAIN, **off})) == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("adapter", "qlora", "is trained with lora, or whole"),
        ("optimizer", "muon", "none of transformers' own"),
        ("lr_scheduler", "rex", "Axolotl's own"),
        ("excess_length_strategy", "truncate", "whole examples go"),
        ("gradient_checkpointing", "offload", "Axolotl's own"),
    ],
)
def test_a_value_that_only_axolotl_knows(key: str, value: Any, said: str) -> None:
    (fault,) = told(kinds.keys, recipe(model__kind="encoder", train={**TRAIN, key: value}))
    assert fault.key == f"train.{key}" and said in fault.message


def test_an_adapter_on_weights_that_are_frozen_anyhow() -> None:
    train = {**TRAIN, "adapter": "lora", "unfrozen_parameters": ["cls"]}
    (fault,) = told(kinds.keys, recipe(model__kind="encoder", train=train))
    assert fault.key == "train.unfrozen_parameters" and "set train.adapter=null" in fault.remedy
    assert told(kinds.keys, recipe(model__kind="encoder", train={**train, "adapter": None})) == []


def test_several_cards_and_chat_templates() -> None:
    made = recipe(model__kind="encoder", hardware__gpus=2)
    (fault,) = told(kinds.keys, made)
    assert fault.key == "hardware.gpus" and "is trained on one card" in fault.message
    source = Source("local", "x", "MIT", "human", form="chat_template")
    (fault,) = told(kinds.keys, recipe(model__kind="encoder", data__sources={"mine": source}))
    assert fault.key == "data.sources.mine.form"


@pytest.mark.parametrize(
    ("model_type", "wrong", "right"),
    [("t5", "causal", "seq2seq"), ("bert", "causal", "encoder"), ("llama", "encoder", "causal"),
     ("bart", "encoder", "seq2seq"), ("deberta-v2", "seq2seq", "encoder")],
)  # fmt: skip
def test_another_kind_than_the_folders(
    model_type: str, wrong: str, right: str, tmp_path: Path
) -> None:
    made = local(tmp_path, {"model_type": model_type}, model__kind=wrong)
    (fault,) = told(config_json.trainable, made)
    assert fault.key == "model.kind" and f"model_type {model_type}" in fault.message
    assert f"set model.kind={right}" in fault.remedy
    assert told(config_json.trainable, changed(made, "model.kind", right)) == []


def test_a_folder_of_another_family_altogether(tmp_path: Path) -> None:
    (fault,) = told(config_json.trainable, local(tmp_path, {"model_type": "whisper_"}))
    assert fault.key == "model.path" and "no model of kind causal" in fault.message


def test_albert_is_computed_without_checkpointing(tmp_path: Path) -> None:
    train = {**TRAIN, "gradient_checkpointing": True}
    made = local(tmp_path, {"model_type": "albert"}, model__kind="encoder", train=train)
    (fault,) = told(kinds.checkpointing, made)
    assert "ALBERT does not support gradient checkpointing" in fault.message
    hub = recipe(model__source="hub", model__family="ALBERT", model__kind="encoder", train=train)
    assert len(told(kinds.checkpointing, hub)) == 1
    other = local(tmp_path, {"model_type": "bert"}, model__kind="encoder", train=train)
    assert told(kinds.checkpointing, other) == []


def test_transformers_still_refuses_it() -> None:
    """When this fails, ALBERT can be trained so, and the rule can go."""
    with pytest.raises(ValueError, match="does not support gradient checkpointing"):
        kin.network("albert", 320).gradient_checkpointing_enable()


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "bert", "max_position_embeddings": 512}, 512),
        ({"model_type": "bart", "max_position_embeddings": 1024}, 1024),
        ({"model_type": "t5", "n_positions": 512}, 0),
    ],
)
def test_more_tokens_than_places(config: dict[str, Any], most: int, tmp_path: Path) -> None:
    made = local(tmp_path, config, model__context=1025)
    found = told(config_json.numbers, made)
    assert [fault.key for fault in found] == (["model.context"] if most else [])
    assert all(f"the {most} positions" in fault.message for fault in found)
    assert told(config_json.numbers, changed(made, "model.context", most or 4096)) == []
    short = changed(made, "model.context", 512)
    long = changed(short, "train", {**TRAIN, "sequence_len": 513})
    assert any(fault.key == "train.sequence_len" for fault in told(training.window, long))


def test_a_discriminator(tmp_path: Path) -> None:
    save_file(
        {"discriminator_predictions.dense.weight": torch.zeros(1)}, tmp_path / "model.safetensors"
    )
    made = local(tmp_path, {"model_type": "electra"}, model__kind="encoder")
    (fault,) = told(kinds.heads, made)
    assert fault.key == "model.head" and "is a discriminator" in fault.message
    assert fault.remedy.startswith("set model.head=new")
    assert told(kinds.heads, changed(made, "model.head", "new")) == []
    hub = recipe(
        model__source="hub", model__kind="encoder", model__family="ELECTRA",
        model__id="google/electra-base-discriminator",
    )  # fmt: skip
    assert [fault.key for fault in told(kinds.heads, hub)] == ["model.id"]


def test_a_head_for_who_has_none() -> None:
    (fault,) = told(kinds.heads, recipe(model__head="new"))
    assert fault.key == "model.head" and "is of encoders" in fault.message


def test_no_vocabulary_and_no_mask(tmp_path: Path) -> None:
    made = local(tmp_path, {"model_type": "bert"}, model__kind="encoder")
    (fault,) = told(kinds.words, made)
    assert fault.key == "model.path" and "holds no vocabulary" in fault.message
    (tmp_path / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": {"<|im_end|>": 0, "<|endoftext|>": 1}}})
    )
    (fault,) = told(kinds.words, made)
    assert "has no mask token" in fault.message and fault.remedy.startswith("take a model")
    assert told(kinds.words, changed(made, "model.kind", "seq2seq")) == []


def test_letters_of_a_model_without_capitals(tmp_path: Path) -> None:
    kin.tokenizer_of("bert").save_pretrained(tmp_path)
    sources = {"places": maker("places"), "counting": maker("counting")}
    made = local(tmp_path, {"model_type": "bert"}, model__kind="encoder", data__sources=sources)
    (fault,) = told(kinds.letters, made)
    assert fault.verdict == "warn" and "the answers of places are letters" in fault.message
    only = changed(made, "data.sources", {"counting": maker("counting")})
    assert told(kinds.letters, only) == []
    hub = changed(changed(made, "model.source", "hub"), "model.id", "x/bert-base-uncased")
    assert len(told(kinds.letters, hub)) == 1
    assert told(kinds.letters, changed(hub, "model.id", "x/bert-base-cased")) == []
