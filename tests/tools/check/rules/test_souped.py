"""A soup's members: there, of one base, kind, layers and rank; and something to choose them by."""

import math
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import recipe
from tests.tools.check.rules.test_merged import other
from tools.check.rules.souped import members
from tools.recipe.schema import Axis, Merge, Recipe, Soup, Sweep, WeightedAdapter

TRAIN = {"adapter": "lora", "lora_target_modules": ["q_proj"], "lora_r": 8}


def souped(train: dict[str, Any] | None = None, more: Any = None, **soup: Any) -> Recipe:
    return recipe(soup=Soup(**soup), train={**TRAIN, **(train or {})}, **(more or {}))


def said(made: Recipe) -> list[str]:
    return [fault.message for fault in members(made, {})]


def test_what_fits(tmp_path: Path) -> None:
    assert said(recipe()) == []
    assert said(souped(checkpoints=2)) == []
    assert said(souped(checkpoints=2, train={"save_strategy": "epoch"})) == []
    for average in ("product", "factors"):
        found = said(souped(adapters={"chat": str(other(tmp_path / "a"))}, average=average))
        assert found == []
    sweep = {"sweep": Sweep({"train.lora_r": Axis(values=[8, 16])})}
    assert said(souped(trials=2, more=sweep)) == []


@pytest.mark.parametrize(
    ("train", "soup", "message"),
    [
        ({}, {}, "soup: names nothing beside the run's own adapter"),
        ({"adapter": None}, {"checkpoints": 2}, "soup: all weights are trained"),
        ({}, {"checkpoints": -1}, "soup.checkpoints is -1"),
        ({}, {"checkpoints": 2, "min_gain": math.nan}, "soup.min_gain is nan"),
        ({}, {"checkpoints": 2, "min_gain": -0.1}, "soup.min_gain is -0.1"),
        (
            {"save_strategy": "best"},
            {"checkpoints": 2},
            "soup.checkpoints: train.save_strategy best",
        ),
        ({}, {"trials": 2}, "soup.trials is 2, and the recipe has no sweep"),
        ({"peft_use_dora": True}, {"checkpoints": 2}, "train.peft_use_dora with soup: DoRA"),
    ],
)
def test_what_does_not(train: dict[str, Any], soup: dict[str, Any], message: str) -> None:
    (fault,) = members(souped(train, **soup), {})
    assert fault.message.startswith(message)
    assert fault.verdict == "fail" and fault.remedy


def test_without_rows_nothing_is_chosen() -> None:
    (fault,) = members(souped(checkpoints=2, more={"data__validation_rows": 0}), {})
    assert fault.key == "data.validation_rows"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"base_model_name_or_path": "mistralai/Mistral-7B-v0.1"}, "was trained on mistralai/"),
        ({"use_dora": True}, "is an adapter with use_dora"),
        ({"target_modules": ["v_proj"]}, "changes v_proj, the run's own q_proj: a mean over"),
        ({"target_modules": ".*q_proj"}, "changes .*q_proj, the run's own q_proj"),
    ],
)
def test_an_adapter_that_does_not_fit(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    (fault,) = said(souped(adapters={"x": str(other(tmp_path / "a", **config))}))
    assert fault.startswith("soup.adapters.x: ") and message in fault


def test_factors_are_of_one_rank(tmp_path: Path) -> None:
    folder = {"x": str(other(tmp_path / "a", r=16))}
    assert said(souped(adapters=folder)) == []
    (fault,) = members(souped(adapters=folder, average="factors"), {})
    assert "has rank 16, the run's own 8" in fault.message
    assert fault.remedy.startswith("set soup.average=product")


def test_all_at_once(tmp_path: Path) -> None:
    folders = {"lost": "", "gone": str(tmp_path / "gone"), "dora": str(tmp_path / "dora")}
    other(tmp_path / "dora", use_dora=True)
    found = said(souped(adapters=folders))
    assert [one.split(":")[0] for one in found] == [f"soup.adapters.{name}" for name in folders]
    assert "empty: holds no adapter_config.json" in found[0]


@pytest.mark.parametrize(("average", "faults"), [("product", 1), ("factors", 0)])
def test_merged_with_others_by_their_matrices(average: str, faults: int, tmp_path: Path) -> None:
    both = {"own": WeightedAdapter(0.5), "x": WeightedAdapter(0.5, str(other(tmp_path / "a")))}
    merge = {"merge": Merge("plain", 1e-3, both, "linear")}
    found = said(souped(checkpoints=2, average=average, more=merge))
    assert len(found) == faults
    assert all("merge.combine linear with soup" in one for one in found)
