"""The plain file that our own trainers read, and what they are told over it."""

import json
from pathlib import Path

import yaml

from tests import kin
from tests.tiny import make_run
from tools.data import tokens
from tools.trainers import request


def test_what_is_asked(tmp_path: Path) -> None:
    base = kin.folder("t5", tmp_path / "t5")
    run = make_run(
        tmp_path / "runs", data__seed=7, model__kind="seq2seq", model__eos="</s>",
        model__pad="<pad>",
    )  # fmt: skip
    path = request.render(run, base)
    assert path == run.path / "trainer.yaml"
    text = path.read_text(encoding="utf-8")
    assert f"python -m tools.trainers.job train {path} '{{}}'" in text
    found = yaml.safe_load(text)
    rows = tokens.paths(run)
    assert (found["train_rows"], found["validation_rows"]) == (
        str(rows["train"]), str(rows["validation"]),
    )  # fmt: skip
    assert found["special_ids"] == {"end": 1, "pad": 0, "trail": [1]}
    assert (found["seed"], found["learning_rate"], found["kind"]) == (7, 1e-3, "seq2seq")
    assert found["new_head"] == [] and found["device"] == "cpu"
    assert request.overrides(run, tmp_path / "x") == {"output_dir": str(tmp_path / "x")}


def test_a_written_head_is_named(tmp_path: Path) -> None:
    base = kin.folder("bert", tmp_path / "bert")
    (base / "origin.json").write_text(json.dumps({"new_head": ["a.dense"]}))
    run = make_run(tmp_path, model__kind="encoder", model__eos="[SEP]", model__pad="[PAD]")
    found = yaml.safe_load(request.render(run, base).read_text())
    assert found["new_head"] == ["a.dense"] and found["special_ids"]["mask"] == 4


def test_its_own_seed_wins(tmp_path: Path) -> None:
    base = kin.folder("t5", tmp_path / "t5")
    run = make_run(
        tmp_path, train={"seed": 5}, model__kind="seq2seq", model__eos="</s>", model__pad="<pad>"
    )
    assert yaml.safe_load(request.render(run, base).read_text())["seed"] == 5


def test_rows_are_made_for_the_window(tmp_path: Path) -> None:
    """Another sequence_len is another file of rows, but not of a causal model."""

    def path(kind: str, length: int) -> Path:
        run = make_run(
            tmp_path, model__kind=kind, train={"adapter": "lora", "sequence_len": length}
        )
        return tokens.paths(run)["train"]

    assert path("causal", 64) == path("causal", 128)
    assert path("encoder", 64) != path("encoder", 128)
    assert path("encoder", 64) != path("seq2seq", 64)
