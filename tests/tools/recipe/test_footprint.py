"""What a served model weighs, held against models on the disk and in memory."""

from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from serve.config import ServeConfig
from serve.engine.loading import load_model
from serve.engine.stepping import Stepper
from tests.serve.engine.test_batching import HOOKED, save
from tools.recipe import footprint
from tools.recipe.arch import parameters, read
from tools.recipe.compose import RECIPES
from tools.recipe.load import load


def test_the_cache_is_the_one_of_transformers(tiny_model: Path) -> None:
    import torch

    arch = read(tiny_model / "config.json")
    net = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    kept = net(torch.zeros(1, 7, dtype=torch.long), use_cache=True).past_key_values
    assert isinstance(kept, DynamicCache)
    size = sum(layer.keys.nbytes + layer.values.nbytes for layer in kept.layers)
    assert footprint.cache(arch, 7, size=4) == size
    assert AutoConfig.from_pretrained(tiny_model).num_hidden_layers == arch.layers


@pytest.mark.parametrize("name", HOOKED)
def test_the_cache_is_the_one_of_the_worker(tmp_path: Path, name: str) -> None:
    """Also where transformers would keep a copy of a key head for each of its query heads."""
    folder = save(tmp_path, *HOOKED[name])
    stepper = Stepper(load_model(folder, ServeConfig(), "cpu"))
    assert footprint.cache(read(folder / "config.json"), 1, size=4) == stepper.token_bytes


def test_clients_add_their_keys_and_values_only() -> None:
    recipe = load(RECIPES / "a100.yaml").recipe
    arch = recipe.model.arch
    assert arch is not None
    one, nine = (footprint.serving(recipe, arch, "int8", n) for n in (1, 9))
    assert nine - one == footprint.cache(arch, 8 * recipe.serve.context)
    # Mistral-7B: 32 layers, 8 heads of 128 for keys and for values, 2 bytes each.
    assert footprint.cache(arch, 1) == 2 * 32 * 8 * 128 * 2


def test_what_is_unpacked_weighs_as_none() -> None:
    recipe = load(RECIPES / "a100.yaml").recipe
    arch = recipe.model.arch
    assert arch is not None
    sizes = {name: footprint.serving(recipe, arch, name, 1) for name in ("none", "w4a16", "nf4")}
    assert sizes["w4a16"] == sizes["none"] > 2 * sizes["nf4"]
    recipe.serve.engine = "vllm"
    assert footprint.serving(recipe, arch, "w4a16", 1) < sizes["none"] / 2


def test_embeddings_stay_but_in_a_gguf() -> None:
    arch = load(RECIPES / "4090.yaml").recipe.model.arch
    assert arch is not None
    vocabulary = 2 * arch.vocab * arch.hidden * 2
    eight = (parameters(arch) - 2 * arch.vocab * arch.hidden) + vocabulary
    assert footprint.weights(arch, "int8", 2) == eight
    assert footprint.weights(arch, "Q8_0", 2) == pytest.approx(parameters(arch) * 8.5 / 8)
    assert footprint.weights(arch, "none", 4) == 4 * parameters(arch)


def test_a_cpu_computes_in_fp32() -> None:
    recipe = load(RECIPES / "cpu.yaml").recipe
    arch = recipe.model.arch
    assert arch is not None
    wide = footprint.serving(recipe, arch, "nf4", 1)
    assert wide == footprint.serving(recipe, arch, "none", 1) > 4 * parameters(arch)
    recipe.serve.dtype = "bfloat16"
    assert footprint.serving(recipe, arch, "nf4", 1) < wide


def test_in_8_bits_a_cpu_needs_the_whole_model_once() -> None:
    recipe = load(RECIPES / "cpu.yaml").recipe
    arch = recipe.model.arch
    assert arch is not None
    recipe.serve.dtype = "int8"
    at_least = 4 * parameters(arch) + footprint.CONTEXT
    assert footprint.serving(recipe, arch, "nf4", 1) == at_least, "while it is loaded"
    rest, tokens = footprint.weights(arch, "int8", 4), 100 * recipe.serve.context
    many = rest + footprint.cache(arch, tokens, size=4) + footprint.CONTEXT
    assert footprint.serving(recipe, arch, "nf4", 100) == many > at_least
