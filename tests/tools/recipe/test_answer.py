"""What a sweep found is in the recipe of every verb, as long as it was asked about that recipe."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from tools.recipe.answer import FILE, question
from tools.recipe.load import load
from tools.recipe.show import show
from tools.recipe.verbs import as_written, asked

TEXT = """\
defaults: [cpu]
train: {lora_alpha: "${train.lora_r}"}
sweep:
  trials: 2
  rungs: 1
  axes:
    train.lora_r: {values: [8, 64]}
    layers: {values: ["", my-layer]}
"""


@pytest.fixture
def args(tmp_path: Path) -> argparse.Namespace:
    recipe = tmp_path / "my.yaml"
    recipe.write_text(TEXT)
    (tmp_path / "my-layer.yaml").write_text("train: {lora_dropout: 0.25}\n")
    return argparse.Namespace(recipe=str(recipe), hw="cpu", set=[], runs=str(tmp_path / "runs"))


def answer(args: argparse.Namespace, **values: Any) -> None:
    found = {
        "question": question(as_written(args).recipe),
        "work": "its fingerprint",
        "trial": 1,
        "values": {"train.lora_r": 64, "layers": "my-layer"},
        **values,
    }
    file = Path(args.runs) / "my" / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found))


def test_the_recipe_is_that_of_the_winner(args: argparse.Namespace) -> None:
    assert asked(args).recipe == as_written(args).recipe
    answer(args)
    found = asked(args)
    assert found.recipe.train["lora_r"] == found.recipe.train["lora_alpha"] == 64
    assert found.recipe.train["lora_dropout"] == 0.25
    assert found.origins["train.lora_r"] == "sweep, trial 1"
    assert found.recipe.sweep is not None and found.recipe.sweep.work == "its fingerprint"
    assert as_written(args).recipe.train["lora_r"] == 16


@pytest.mark.parametrize("change", ["train.weight_decay=0.1", "sweep.trials=3", "data.seed=4"])
def test_an_edit_of_what_was_asked_asks_again(args: argparse.Namespace, change: str) -> None:
    answer(args)
    args.set = [change]
    assert asked(args).recipe == as_written(args).recipe


def test_an_edit_behind_training_does_not(args: argparse.Namespace) -> None:
    answer(args)
    args.set = ["serve.port=9000", "eval.threads=3"]
    assert asked(args).recipe.train["lora_r"] == 64


def test_a_torn_answer_is_none(args: argparse.Namespace) -> None:
    answer(args)
    (Path(args.runs) / "my" / FILE).write_text('{"question"')
    assert asked(args).recipe == as_written(args).recipe


def test_written_with_what_was_found_it_is_the_same_recipe(
    args: argparse.Namespace, tmp_path: Path
) -> None:
    answer(args)
    found = asked(args)
    file = tmp_path / "again" / "my.yaml"
    file.parent.mkdir()
    file.write_text(show(found))
    assert load(file).recipe == found.recipe
