"""A mixture of experts is told what of it cannot be trained, and what stays whole."""

from pathlib import Path

import pytest

from tools.base_model.experts import REMEDY, WHY
from tools.check.findings import check
from tools.check.rules import experts
from tools.errors import UserError
from tools.plan.verdict import plan, render
from tools.recipe.compose import RECIPES
from tools.recipe.load import Loaded, load
from tools.run.folder import Run
from tools.stages import preflight


def mixture(folder: Path, layer: str, *overrides: str) -> Loaded:
    mine = folder / "mine.yaml"
    mine.write_text(f"defaults: [{RECIPES}/a100, {RECIPES}/models/{layer}]\n", encoding="utf-8")
    return load(mine, overrides)


LAYERS = ["mixtral-8x7b", "qwen1.5-moe-a2.7b", "qwen3-30b-a3b"]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_shipped_mixture_trains_what_can_be_merged(layer: str, tmp_path: Path) -> None:
    recipe = mixture(tmp_path, layer).recipe
    assert list(experts.trained(recipe, {})) == []
    (told,) = experts.packed(recipe, {})  # the recipe quantizes what it serves
    assert told.verdict == "warn" and told.key == "quantize.format"


@pytest.mark.parametrize("layer", LAYERS)
def test_check_plan_and_a_forced_training_say_the_same(layer: str, tmp_path: Path) -> None:
    loaded = mixture(tmp_path, layer, "train.lora_target_linear=true")
    (fault,) = experts.trained(loaded.recipe, {})
    assert WHY in fault.message and fault.remedy == REMEDY
    failed = [f for f in check(loaded) if f.verdict == "fail" and f.rule == "experts"]
    assert [f.message for f in failed] == [fault.message]
    words = f"{fault.message}; {fault.remedy}"
    assert f"plan: {words}" in render(plan(loaded.recipe, tmp_path)).splitlines()
    with pytest.raises(UserError) as caught:
        preflight.refuse_unmergeable(Run(loaded.recipe, tmp_path).recipe)
    assert caught.value.faults == [words]


def test_the_remedy_is_enough(tmp_path: Path) -> None:
    wrong = "train.lora_target_linear=true train.lora_target_modules=[w1,w2]"
    right = REMEDY.removeprefix('SET="').removesuffix('"')
    recipe = mixture(tmp_path, "mixtral-8x7b", wrong, right).recipe
    assert list(experts.trained(recipe, {})) == []


@pytest.mark.parametrize(
    ("settings", "verdicts"),
    [
        ("quantize.format=none", []),
        ("quantize.format=nf4 train.load_in_8bit=true", ["warn", "warn"]),
        ("quantize.format=none train.load_in_4bit=true train.adapter=qlora", ["warn"]),
        ("quantize.format=none train.quantize_moe_experts=true", ["fail"]),
    ],
)
def test_experts_stay_whole(settings: str, verdicts: list[str], tmp_path: Path) -> None:
    recipe = mixture(tmp_path, "qwen3-30b-a3b", settings).recipe
    assert [fault.verdict for fault in experts.packed(recipe, {})] == verdicts


def test_other_bases_are_told_nothing() -> None:
    recipe = load(RECIPES / "4090.yaml", ["train.lora_target_linear=true"]).recipe
    assert [*experts.trained(recipe, {}), *experts.packed(recipe, {})] == []
