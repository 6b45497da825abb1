"""Which keys are axes; what is told of others, in one go, is in tests/faulty/sweep_*.yaml."""

from pathlib import Path

import pytest

from tools.errors import UserError
from tools.recipe.axes import incomparable, layers_of, sets, tried
from tools.recipe.load import load

HEAD = "defaults: [cpu]\nsweep:\n  trials: 2\n  rungs: 1\n  axes:\n"


def faults(folder: Path, *axes: str) -> list[str]:
    recipe = folder / "my.yaml"
    recipe.write_text(HEAD + "".join(f"    {axis}\n" for axis in axes))
    try:
        load(recipe)
    except UserError as error:
        return error.faults
    return []


@pytest.mark.parametrize(
    "axis",
    [
        "train.learning_rate: {log: [1e-4, 1e-2]}",
        "train.lora_r: {range: [4, 64]}",
        "train.optimizer: {values: [adamw_torch, adafactor]}",
        "train.lora_target_modules: {values: [[q_proj], [q_proj, v_proj]]}",
        "data.order: {values: [shuffled, easy-first]}",
        "data.sources.boxes.weight: {range: [0.5, 2.0]}",
        "data.operators: {values: [[], [{dedup: {keep: first}}]]}",
        'layers: {values: ["", train/no-lora-kernels]}',
        "layers: {values: [[], [train/no-lora-kernels]]}",
    ],
)
def test_what_can_be_tried(tmp_path: Path, axis: str) -> None:
    assert faults(tmp_path, axis) == []


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("train.eval_steps: {range: [10, 20]}", "changes what eval_loss measures"),
        ("train.seed: {range: [1, 9]}", "luck"),
        ("train.num_epochs: {range: [1, 9]}", "the rungs decide"),
        ("train.logging_steps: {range: [1, 9]}", "changes no weight"),
        ("data.shots: {range: [1, 4]}", "which rows are held out"),
        ("data.sources.boxes.path: {values: [a, b]}", "which rows are held out"),
        ("hardware.gpus: {values: [1, 2]}", "all trials have in common"),
        ("sweep.trials: {values: [4, 8]}", "search itself"),
        ("layers: {range: [1, 2]}", "layers have no range"),
        ('layers: {values: [1, ""]}', "must be names of files"),
        ("train.lora_r: {range: [1, .inf]}", "2^63"),
    ],
)
def test_what_cannot(tmp_path: Path, axis: str, said: str) -> None:
    told = faults(tmp_path, axis)
    assert len(told) == 1 and said in told[0], told


def test_both_ends_of_a_range_are_held_against_the_key(tmp_path: Path) -> None:
    (told,) = faults(tmp_path, "train.lora_r: {range: [0.5, 8]}")
    assert "sweep.axes.train.lora_r.range[0]: must be a whole number" in told


def test_nothing_is_evaluated(tmp_path: Path) -> None:
    recipe = tmp_path / "my.yaml"
    axis = "    train.lora_r: {range: [4, 64]}\n"
    recipe.write_text(HEAD + axis)
    with pytest.raises(UserError, match=r"sweep: trials are compared by eval_loss"):
        load(recipe, ["train.eval_strategy=no"])


def test_a_layer_may_change_no_more_than_an_axis() -> None:
    before = {"model": {"id": "a"}, "train": {"sequence_len": 64, "lora_r": 8, "save_steps": 5}}
    after = {"model": {"id": "a"}, "train": {"sequence_len": 32, "lora_r": 16, "seed": 3}}
    assert [one.split()[0] for one in incomparable(before, after)] == [
        "train.sequence_len",
        "train.seed",
    ]
    (said,) = incomparable(before, {**before, "model": {"id": "b"}})
    assert said.startswith("model.id has tokens of its own")


def test_values_as_the_command_line_has_them() -> None:
    values = {"train.lora_r": 8, "layers": "a", "data.order": "listed", "data.operators": []}
    assert sets(values) == ["train.lora_r=8", 'data.order="listed"', "data.operators=[]"]
    assert layers_of(values) == ["a"]
    assert layers_of({"layers": ["a", "b"]}) == ["a", "b"]
    assert layers_of({"layers": ""}) == layers_of({}) == []
    assert tried({"values": [], "log": [1, 2]}) == [1, 2]
