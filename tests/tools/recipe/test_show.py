"""Show: the text reads back as the same recipe, and says where values come from."""

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.recipe.show import plain, show


@pytest.mark.parametrize("name", ["4090", "a100", "cpu"])
def test_what_is_shown_is_the_recipe(name: str, tmp_path: Path) -> None:
    loaded = load(RECIPES / f"{name}.yaml")
    stored = tmp_path / f"{name}.yaml"
    stored.write_text(show(loaded), encoding="utf-8")
    assert OmegaConf.to_container(OmegaConf.load(stored)) == plain(loaded)
    assert load(stored).recipe == loaded.recipe


def test_awkward_values_survive(tmp_path: Path) -> None:
    prompt = "# no comment\n\n" + "long words " * 30 + ": {field}\n"
    mine = tmp_path / "my.yaml"
    source = {
        "kind": "jsonl",
        "path": "1e-4",
        "licence": "MIT",
        "origin": "human",
        "prompt": prompt,
    }
    text = OmegaConf.to_yaml({"defaults": ["cpu"], "data": {"sources": {"x": source}}})
    mine.write_text(text, encoding="utf-8")
    loaded = load(mine)
    shown = OmegaConf.create(show(loaded))
    assert shown.data.sources.x.prompt == prompt
    assert shown.data.sources.x.path == "1e-4"


def test_every_value_names_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RECIPES.parent)
    lines = show(load(Path("recipes/4090.yaml"), ["train.lora_r=8"])).splitlines()
    lora = next(line for line in lines if line.startswith("  lora_r:"))
    assert lora == "  lora_r: 8  # --set"
    assert any(line.startswith("  bf16: true  # recipes/hardware/4090.yaml:") for line in lines)
    assert any(line.startswith("  path: ''  # default") for line in lines)
    values = [line for line in lines if re.match(r" *[\w-]+: [^'{[]*$", line)]  # on one line
    assert len(values) > 100
    assert all("  # " in line for line in values)


def test_what_looks_like_a_reference_but_is_none_stays_so(tmp_path: Path) -> None:
    mine, again = tmp_path / "my.yaml", tmp_path / "again" / "my.yaml"
    again.parent.mkdir()
    mine.write_text("defaults: [cpu]\ntrain: {wandb_name: '\\${price}'}\n", encoding="utf-8")
    loaded = load(mine)
    assert loaded.recipe.train["wandb_name"] == "${price}"
    again.write_text(show(loaded), encoding="utf-8")
    assert load(again).recipe == loaded.recipe
