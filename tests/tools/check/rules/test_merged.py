"""Adapters to be merged together: there, of one base, of one rank, and only matrices."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import recipe
from tools.check.rules.merged import MORE, adapters
from tools.recipe.schema import Merge, Recipe, WeightedAdapter

LORA = {"peft_type": "LORA", "r": 8, "target_modules": ["q_proj"]}


def other(folder: Path, **config: Any) -> Path:
    """An adapter's folder, as far as it is looked at."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**LORA, **config}))
    (folder / "adapter_model.safetensors").touch()
    return folder


def mixed(folder: Path | str, train: dict[str, Any] | None = None, **merge: Any) -> Recipe:
    both = {"own": WeightedAdapter(0.5), "other": WeightedAdapter(0.5, str(folder))}
    values = {"adapters": both, **merge}
    return recipe(
        merge=Merge("plain", 1e-3, **values),
        train={"adapter": "lora", "lora_target_modules": ["q_proj"], **(train or {})},
    )


def said(made: Recipe) -> list[str]:
    return [fault.message for fault in adapters(made, {})]


def test_two_of_a_kind(tmp_path: Path) -> None:
    assert said(recipe()) == []
    for how in ("cat", "linear", "ties", "dare_linear", "dare_ties"):
        assert said(mixed(other(tmp_path / "a"), combine=how)) == []


@pytest.mark.parametrize("lost", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_file_that_is_not_there(lost: str, tmp_path: Path) -> None:
    folder = other(tmp_path / "a")
    (folder / lost).unlink()
    assert said(mixed(folder)) == [f"merge.adapters.other.path: {folder}: holds no {lost}"]


def test_no_json(tmp_path: Path) -> None:
    folder = other(tmp_path / "a")
    (folder / "adapter_config.json").write_text("{")
    assert said(mixed(folder))[0].endswith("holds no readable adapter_config.json")


@pytest.mark.parametrize("rank", [{"r": 4}, {"rank_pattern": {"q_proj": 2}}])
@pytest.mark.parametrize("how", ["linear", "ties", "dare_linear", "dare_ties"])
def test_another_rank(rank: dict[str, Any], how: str, tmp_path: Path) -> None:
    folder = other(tmp_path / "a", **rank)
    (fault,) = adapters(mixed(folder, combine=how), {})
    assert "merge.adapters.other has rank" in fault.message and "own 8" in fault.message
    assert "merge.combine=cat" in fault.remedy
    assert said(mixed(folder, combine="cat")) == []


def test_one_rank_of_the_recipe(tmp_path: Path) -> None:
    folder = other(tmp_path / "a", r=16)
    assert said(mixed(folder, {"lora_r": 16}, combine="linear")) == []


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"peft_type": "LOHA"}, "peft_type LOHA"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights pissa_niter_4"),
        ({"ensure_weight_tying": True}, "ensure_weight_tying"),
        ({"bias": "all"}, "bias all"),
    ],
)
def test_more_than_matrices(config: dict[str, Any], what: str, tmp_path: Path) -> None:
    (fault,) = said(mixed(other(tmp_path / "a", **config)))
    assert f"is an adapter with {what}, which cannot be weighed" in fault


@pytest.mark.parametrize("key", ["peft_use_dora", "lora_modules_to_save"])
def test_more_than_matrices_of_its_own(key: str, tmp_path: Path) -> None:
    (fault,) = adapters(mixed(other(tmp_path / "a"), {key: ["x"]}), {})
    assert fault.key == f"train.{key}"


@pytest.mark.parametrize(
    ("named", "faults"),
    [
        ("own/tiny", 0),
        ("/elsewhere/own/tiny", 0),
        ("/x/hub/models--own--tiny/snapshots/5d3c", 0),
        ("/x/hub/models--own--large/snapshots/5d3c", 1),
        ("mistralai/Mistral-7B-v0.1", 1),
    ],
)
def test_another_base(named: str, faults: int, tmp_path: Path) -> None:
    found = said(mixed(other(tmp_path / "a", base_model_name_or_path=named)))
    assert len(found) == faults
    assert not faults or f"was trained on {named}, not on own/tiny" in found[0]


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf")])
def test_a_weight_that_is_none(weight: float, tmp_path: Path) -> None:
    made = mixed(other(tmp_path / "a"))
    made.merge.adapters["own"].weight = weight
    assert said(made)[0].startswith(f"merge.adapters.own.weight is {weight:g}")


def test_numbers(tmp_path: Path) -> None:
    folder = other(tmp_path / "a")
    assert said(mixed(folder, density=0.0))[0].startswith("merge.density is 0")
    assert said(mixed(folder, density=1.5))[0].startswith("merge.density is 1.5")
    assert said(mixed(folder, seed=-1))[0].startswith("merge.seed is -1")


def test_the_own_one(tmp_path: Path) -> None:
    made = mixed(other(tmp_path / "a"))
    del made.merge.adapters["own"]
    assert said(made)[0].startswith("merge.adapters: 0 of its entries have no path")
    assert said(mixed(other(tmp_path / "a"), {"adapter": None}))[0].startswith(
        "merge.adapters: all weights are trained"
    )


def test_layers_as_a_pattern_and_as_a_list(tmp_path: Path) -> None:
    folder = other(tmp_path / "a", target_modules=".*q_proj")
    assert said(mixed(folder))[0].startswith("merge.adapters: layers of one are a pattern")
    assert said(mixed(folder, {"lora_target_modules": ".*q_proj"})) == []


def test_every_variant_of_peft_is_known() -> None:
    """PEFT marks them itself; of two starts, Mica's and DoRA's, the one only draws otherwise."""
    import dataclasses

    from peft import LoraConfig

    marked = {
        one.name for one in dataclasses.fields(LoraConfig) if one.metadata.get("is_lora_variant")
    }
    assert marked and marked <= set(MORE)
