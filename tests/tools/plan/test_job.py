"""From Axolotl's keys to what the planner counts with, and from a config.json to its numbers."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tools.base_model.architecture import architecture
from tools.errors import UserError
from tools.plan.job import ALL_LINEAR, INT8, NF4, NF4_DOUBLE, Job, job, module_parts, parts
from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.recipe.schema import Architecture, Recipe

RECIPE = load(RECIPES / "4090.yaml").recipe
LIGER = "axolotl.integrations.liger.LigerPlugin"
CCE = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"


def with_train(**train: Any) -> Job:
    return job(dataclasses.replace(RECIPE, train={**RECIPE.train, **train}))


def test_the_recipe_as_it_is() -> None:
    found = job(RECIPE)
    assert (found.method, found.sequence, found.micro_batch, found.rank) == ("qlora", 8192, 2, 128)
    assert found.targets == ALL_LINEAR and found.loss == "chunked" and found.checkpointing
    assert found.base_bytes == NF4_DOUBLE and found.embedding_bytes == 2
    assert found.tokens == 16384 and found.accumulation == 4


@pytest.mark.parametrize(
    ("train", "field", "value"),
    [
        ({"adapter": "lora", "load_in_4bit": None}, "base_bytes", 2.0),
        ({"adapter": "lora", "load_in_4bit": None, "load_in_8bit": True}, "base_bytes", INT8),
        ({"bnb_config_kwargs": {"bnb_4bit_use_double_quant": False}}, "base_bytes", NF4),
        ({"adapter": None, "load_in_4bit": None}, "method", "full"),
        ({"chunked_cross_entropy": None}, "loss", "hf"),
        ({"plugins": [CCE], "chunked_cross_entropy": None}, "loss", "fused"),
        ({"plugins": [CCE], "cut_cross_entropy": False}, "loss", "chunked"),
        ({"liger_fused_linear_cross_entropy": True}, "loss", "liger_fused"),
        ({"liger_cross_entropy": True, "chunked_cross_entropy": None}, "loss", "liger"),
        ({"gradient_checkpointing": False}, "checkpointing", False),
        ({"gradient_checkpointing": "offload"}, "offload", True),
        ({"activation_offloading": "legacy"}, "offload", True),
        ({"bf16": False}, "compute_bytes", 4),
        ({"bf16": "auto"}, "compute_bytes", 2),
        ({"peft_autocast_adapter_dtype": False}, "adapter_bytes", 2),
        ({"lora_modules_to_save": ["embed_tokens", "lm_head"]}, "trained_matrices", 2),
        ({"peft_use_dora": True}, "dora", True),
        ({"attn_implementation": "eager"}, "eager", True),
        ({"lora_target_modules": ["q_proj", "v_proj"]}, "targets", ("q", "v")),
        ({"lora_target_modules": "layers.*proj"}, "targets", ALL_LINEAR),
        ({"lora_target_linear": True, "lora_target_modules": None}, "targets", ALL_LINEAR),
        ({"deepspeed": "deepspeed_configs/zero3_bf16.json"}, "zero_stage", 3),
        ({"deepspeed": str(RECIPES / "deepspeed" / "zero2.json")}, "zero_stage", 2),
        ({"fsdp_config": {"offload_params": True}}, "zero_stage", 3),
        ({"sequence_len": None}, "sequence", 512),
        ({"optimizer": None}, "optimizer", "adamw_torch_fused"),
        ({}, "dropout", True),
        ({"lora_dropout": 0.0}, "dropout", False),
        ({"lora_dropout": None}, "dropout", False),
        ({}, "kernels", ("qkv", "o", "mlp")),
        ({"lora_o_kernel": True}, "kernels", ("o",)),  # one that is said leaves the others off
        ({"lora_embedding_kernel": False}, "kernels", ()),
        ({"lora_target_modules": ["q_proj", "k_proj", "v_proj"]}, "kernels", ("qkv",)),
        ({"lora_target_modules": ["q_proj", "v_proj"]}, "kernels", ()),
        ({"adapter": "lora", "load_in_4bit": None, "load_in_8bit": True}, "kernels", ()),
        ({"trust_remote_code": True}, "kernels", ()),
        ({"liger_rms_norm": True}, "liger", ()),  # without its plug-in nothing reads it
        ({"plugins": [LIGER], "liger_rms_norm": True}, "liger", ("rms_norm",)),
        ({"plugins": [LIGER], "liger_glu_activation": True}, "liger", ("glu",)),
        ({"plugins": [LIGER], "liger_rope": True}, "liger", ()),  # keeps as much as without
        ({"selective_checkpointing": True}, "saved", ("attention",)),
        ({"selective_checkpointing": False}, "saved", ()),
        ({"selective_checkpointing": True, "gradient_checkpointing": False}, "saved", ()),
        (
            {"selective_checkpointing": {"save_modules": ["down_proj"]}},
            "saved",
            ("attention", "down"),
        ),
        (
            {"selective_checkpointing": {"save": [], "save_modules": ["mlp"]}},
            "saved",
            ("down", "gate", "up"),
        ),
        ({"selective_checkpointing": {"save": [], "save_matmul_min_k": 5000}}, "saved", ("down",)),
        (
            {"selective_checkpointing": {"save": ["aten::mm"]}},
            "saved",
            ("down", "gate", "k", "o", "q", "up", "v"),
        ),
        (
            {"selective_checkpointing": True, "attn_implementation": "flash_attention_2"},
            "saved",
            (),
        ),
        (
            {
                "selective_checkpointing": {"save_sliding_window": True},
                "attn_implementation": "flash_attention_2",
            },
            "saved",
            ("attention",),
        ),
        ({"selective_checkpointing": {"offload": True}}, "saved_offload", True),
        # They set how fast matrices learn, or with what they begin; memory and speed are the same.
        ({"loraplus_lr_ratio": 16.0}, "rank", 128),
        ({"peft_use_rslora": True}, "rank", 128),
        ({"peft_init_lora_weights": "eva"}, "rank", 128),
    ],
)
def test_each_key(train: dict[str, Any], field: str, value: object) -> None:
    assert getattr(with_train(**train), field) == value


@pytest.mark.parametrize(
    ("targets", "wanted"),
    [
        ("all linear", ALL_LINEAR),
        ("q_proj,v_proj", ("q", "v")),
        ("q_proj v_proj", ("q", "v")),
        ("qkvo", ("q", "k", "v", "o")),
        (["c_attn", "c_proj", "c_fc"], ("qkv", "o", "down", "up")),
        (["query_key_value", "dense"], ("qkv", "o")),
        (["self_attn.q_proj", "mlp.down_proj"], ("q", "down")),
        ("attention", ("q", "k", "v", "o")),
        ("mlp", ("gate", "up", "down")),
    ],
)
def test_targets(targets: object, wanted: tuple[str, ...]) -> None:
    assert parts(targets) == (wanted, [])


FREE = ["loraplus_lr_ratio", "peft_use_rslora", "fa_varlen_kwargs_in_collator", "torch_compile"]


@pytest.mark.parametrize("key", FREE)
def test_keys_that_cost_nothing_that_is_counted(key: str) -> None:
    assert with_train(**{key: True}) == job(RECIPE)


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ("model.layers.0.mlp.down_proj", ("down",)),
        ("self_attn", ("q", "k", "v", "o")),
        ("*_proj", ALL_LINEAR),
        ("lm_head", ()),
    ],
)
def test_modules(entry: str, wanted: tuple[str, ...]) -> None:
    assert module_parts(entry) == wanted


def test_no_kernels_on_a_cpu_or_in_other_blocks() -> None:
    assert job(load(RECIPES / "cpu.yaml").recipe).kernels == ()
    assert job(load(RECIPES / "presets" / "mistral-lora-8bit.yaml").recipe).kernels == ()


def test_unknown_targets() -> None:
    assert parts(["q_proj", "strange"]) == (("q",), ["strange"])


def test_every_models_targets_are_known() -> None:
    every = sorted((RECIPES / "models").glob("*.yaml"))
    files = [file for file in every if "kind: causal" in file.read_text("utf-8")]
    for file in files:
        recipe = _with_model(file.stem)
        found, unknown = parts(recipe.train["lora_target_modules"])
        assert found and not unknown, file.name
    assert len(files) > 10


def _with_model(name: str) -> Recipe:
    from omegaconf import OmegaConf

    from tools.recipe.compose import Composition

    train = OmegaConf.to_container(Composition(RECIPES / "models" / f"{name}.yaml").config.train)
    assert isinstance(train, dict)
    return dataclasses.replace(RECIPE, train={str(key): value for key, value in train.items()})


def local(folder: Path, **config: Any) -> Architecture:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    model = dataclasses.replace(RECIPE.model, arch=None, source="local", path=str(folder))
    return architecture(model)


def test_a_llama_like_config(tmp_path: Path) -> None:
    found = local(
        tmp_path,
        model_type="mistral",
        **{"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "vocab_size": 300},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False},
    )
    assert found == Architecture(64, 2, 96, 300, 4, 2, tied=False)


def test_a_gpt2_config(tmp_path: Path) -> None:
    found = local(tmp_path, model_type="gpt2", n_embd=64, n_layer=2, n_head=4, vocab_size=300)
    assert found == Architecture(64, 2, 256, 300, 4, 4, tied=True, gated=False)


@pytest.mark.parametrize(
    ("more", "kv_heads"),
    [
        ({"multi_query": True}, 1),
        ({"multi_query": True, "num_kv_heads": 71}, 1),
        ({"multi_query": True, "num_kv_heads": 71, "new_decoder_architecture": False}, 1),
        ({"multi_query": True, "num_kv_heads": 8, "new_decoder_architecture": True}, 8),
        ({"multi_query": False, "num_kv_heads": 71}, 71),
        ({"multi_query": False}, 71),
    ],
)
def test_a_falcon_config(more: dict[str, Any], kv_heads: int, tmp_path: Path) -> None:
    """transformers writes num_kv_heads also where multi_query overrules it."""
    config = {"hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71}
    assert local(tmp_path, model_type="falcon", vocab_size=9, **config, **more).kv_heads == kv_heads


LAYERS = {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 300, "num_attention_heads": 4}
MIXED = {**LAYERS, "intermediate_size": 96, "num_experts_per_tok": 2, "tie_word_embeddings": False}


def test_a_mixture_s_config(tmp_path: Path) -> None:
    mixtral = local(tmp_path, model_type="mixtral", num_local_experts=8, **MIXED)
    assert mixtral == Architecture(64, 2, 96, 300, 4, 4, tied=False, experts=8, experts_used=2)
    more = {"moe_intermediate_size": 24, "shared_expert_intermediate_size": 48}
    more |= {"sliding_window": 4096, "use_sliding_window": False}
    qwen = local(tmp_path, model_type="qwen2_moe", num_experts=6, **MIXED, **more)
    assert qwen == Architecture(
        64, 2, 24, 300, 4, 4, tied=False, experts=6, experts_used=2, shared_mlp=48
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"decoder_sparse_step": 2}, "decoder_sparse_step: only some of its layers have experts"),
        ({"mlp_only_layers": [0]}, "mlp_only_layers: only some"),
        ({"num_experts_per_tok": None}, "tells no experts_used"),
    ],
)
def test_a_mixture_that_our_numbers_cannot_tell(
    more: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        local(tmp_path, model_type="qwen3_moe", num_experts=6, **{**MIXED, **more})


def test_a_config_that_tells_too_little(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tells no layers, heads"):
        local(tmp_path, hidden_size=64, vocab_size=300)


def test_no_numbers_at_all() -> None:
    with pytest.raises(UserError, match=r"model\.arch is missing.*add hidden, layers"):
        architecture(dataclasses.replace(RECIPE.model, arch=None))
