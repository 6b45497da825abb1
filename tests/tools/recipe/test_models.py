"""One model a recipe: a later one replaces an earlier one, and all that its layer says."""

from pathlib import Path

import pytest

from tools.errors import UserError
from tools.recipe.compose import RECIPES
from tools.recipe.load import Loaded, load

OWN = (
    "model: {id: own/one, source: hub, family: x, licence: MIT, instruct: false, context: 64, "
    "eos: a, pad: b}"
)


def composed(folder: Path, text: str, *overrides: str) -> Loaded:
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    return load(folder / "mine.yaml", overrides)


def test_a_layer_goes_with_all_it_said(tmp_path: Path) -> None:
    loaded = composed(tmp_path, "defaults: [4090, models/mpt-7b, models/pythia-1b]")
    train, model = loaded.recipe.train, loaded.recipe.model
    assert model.id == "EleutherAI/pythia-1b" and model.eos == "<|endoftext|>"
    assert train["lora_target_modules"][0] == "query_key_value"
    assert train["sample_packing"] is True  # MPT's layer had turned it off
    assert train["lora_mlp_kernel"] is False  # of train/no-lora-kernels, which Pythia's has, too
    assert not any("mpt-7b" in where or "mistral" in where for where in loaded.origins.values())


def test_what_only_a_replaced_layer_includes_goes(tmp_path: Path) -> None:
    loaded = composed(tmp_path, "defaults: [4090, models/pythia-1b, models/llama-2-7b]")
    assert "lora_mlp_kernel" not in loaded.recipe.train
    assert RECIPES / "train" / "no-lora-kernels.yaml" not in loaded.files


def test_a_model_of_ones_own_has_nothing_of_the_old_one(tmp_path: Path) -> None:
    loaded = composed(tmp_path, f"defaults: [4090]\n{OWN}\n")
    model = loaded.recipe.model
    assert (model.revision, model.bos, model.arch) == ("", "", None)
    assert "lora_target_modules" not in loaded.recipe.train
    assert loaded.recipe.train["lora_r"] == 128  # the recipe's, not the model's


def test_a_recipe_that_names_its_model_keeps_the_rest(tmp_path: Path) -> None:
    """Of a file that is no layer of a model only the model goes."""
    (tmp_path / "theirs.yaml").write_text(f"defaults: [4090]\n{OWN}\ntrain: {{lora_r: 7}}\n")
    loaded = composed(tmp_path, "defaults: [theirs, models/gpt2]")
    assert loaded.recipe.model.id == "openai-community/gpt2" and loaded.recipe.train["lora_r"] == 7


def test_one_id_is_one_model(tmp_path: Path) -> None:
    text = "defaults: [4090]\nmodel: {id: mistralai/Mistral-7B-v0.1, source: local, path: mine}\n"
    model = composed(tmp_path, text).recipe.model
    assert model.source == "local" and model.eos == "</s>" and model.arch is not None


@pytest.mark.parametrize("first", [True, False])
def test_the_command_line_in_any_order(first: bool, tmp_path: Path) -> None:
    rest = "model.source=hub model.family=x model.licence=MIT model.instruct=false model.eos=a"
    words = [rest, "model.id=own/one", "model.pad=b model.context=64"]
    loaded = load(RECIPES / "4090.yaml", words[:: 1 if first else -1])
    model = loaded.recipe.model
    assert (model.id, model.eos, model.pad, model.context) == ("own/one", "a", "b", 64)
    assert (model.revision, model.arch) == ("", None)


def test_what_is_missing_is_one_fault(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(RECIPES / "4090.yaml", ["model.id=own/one model.source=hub", "model.eos=a"])
    (fault,) = caught.value.faults
    assert fault.startswith("--set: model.id: own/one is another model than mistralai/")
    assert "add family, licence, instruct, context, pad (docs/recipes.md, Another model)" in fault
