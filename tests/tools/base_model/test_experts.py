"""Mixtures of experts, told by files, numbers or name; and what of a recipe would train them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import recipe
from tools.base_model.experts import has_experts, named_so, trained
from tools.recipe.schema import Architecture, Recipe

MIXTURE = Architecture(64, 2, 32, 300, 4, 2, tied=False, experts=4, experts_used=2)


@pytest.mark.parametrize(
    ("name", "so"),
    [
        ("mistralai/Mixtral-8x7B-v0.1", True),
        ("Qwen/Qwen1.5-MoE-A2.7B", True),
        ("Qwen/Qwen2-57B-A14B", True),
        ("Qwen/Qwen3-30B-A3B-Base", True),
        ("allenai/OLMoE-1B-7B-0924", True),
        ("mistralai/Mistral-7B-v0.1", False),
        ("moe-lab/Qwen2.5-7B", False),  # whose it is says nothing
        ("Qwen/Qwen3-8B-Base", False),
    ],
)
def test_a_name_tells(name: str, so: bool) -> None:
    assert named_so(name) == so


@pytest.mark.parametrize("key", ["num_local_experts", "num_experts", "n_routed_experts"])
def test_the_files_tell_it_before_numbers_and_name(key: str, tmp_path: Path) -> None:
    made = recipe(model__path=str(tmp_path), model__arch=None)
    assert not has_experts(made.model)
    (tmp_path / "config.json").write_text(json.dumps({key: 8}))
    assert has_experts(made.model)
    (tmp_path / "config.json").write_text(json.dumps({key: 0}))
    assert not has_experts(recipe(model__path=str(tmp_path), model__arch=MIXTURE).model)
    (tmp_path / "config.json").write_text("[]")
    assert not has_experts(made.model)


def test_numbers_and_name_tell_it_each_by_itself() -> None:
    dense = Architecture(64, 2, 32, 300, 4, 2, tied=False)
    hub = {"model__source": "hub", "model__id": "x/y"}
    assert has_experts(recipe(**hub, model__arch=MIXTURE).model)
    assert not has_experts(recipe(**hub, model__arch=dense).model)
    named = {**hub, "model__id": "x/Mixtral-8x7B"}
    assert has_experts(recipe(**named, model__arch=dense).model)
    assert has_experts(recipe(**named, model__arch=None).model)


def mixture(**train: Any) -> Recipe:
    return recipe(
        train={"adapter": "lora", **train}, model__source="hub", model__arch=MIXTURE,
        model__id="mistralai/Mixtral-8x7B-v0.1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"lora_target_linear": True}, "train.lora_target_linear trains experts of mistralai/"),
        ({"lora_target_modules": ["q_proj", "w1"]}, "train.lora_target_modules w1 trains"),
        ({"lora_target_modules": ["mlp.gate_proj", "up_proj"]}, "mlp.gate_proj, up_proj trains"),
        ({"lora_target_modules": "all-linear"}, "train.lora_target_modules all-linear trains"),
        ({"lora_target_modules": r".*\.mlp\..*down_proj"}, "down_proj trains experts"),
        ({"lora_modules_to_save": ["lm_head", "experts"]}, "lora_modules_to_save experts trains"),
        ({"lora_target_parameters": ["mlp.experts.down_proj"]}, "train.lora_target_parameters"),
    ],
)
def test_what_trains_experts_is_told_with_the_key(train: dict[str, Any], said: str) -> None:
    ((key, message),) = trained(mixture(**train))
    assert key == f"train.{next(iter(train))}" and said in message
    assert "transformers keeps all experts of a layer in one tensor" in message


@pytest.mark.parametrize(
    "train",
    [
        {"lora_target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "lm_head"]},
        {"lora_target_modules": r".*self_attn\.[qv]_proj"},
        {"lora_target_modules": "["},  # PEFT will tell
        {"lora_target_modules": ["q_proj"], "lora_modules_to_save": ["embed_tokens", "lm_head"]},
    ],
)
def test_attention_embeddings_and_head_can_be_trained(train: dict[str, Any]) -> None:
    assert list(trained(mixture(**train))) == []


def test_a_base_without_experts_has_none_to_train() -> None:
    assert list(trained(recipe(train={"adapter": "lora", "lora_target_linear": True}))) == []
