"""A base of pickles becomes one of safetensors: the same weights, once, and nothing is executed."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny import recipe
from tools.base_model import folder as model
from tools.base_model.pickled import as_safetensors
from tools.errors import StageError, UserError


@pytest.fixture
def pickles(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with one ``pytorch_model.bin`` and no safetensors."""
    folder = tmp_path / "bin"
    shutil.copytree(tiny_model, folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


def test_one_pickle(pickles: Path, tiny_model: Path, tmp_path: Path) -> None:
    made = as_safetensors(pickles, tmp_path / "cache")
    assert [path.name for path in made.glob("*.bin")] == []
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (made, tiny_model))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    AutoModelForCausalLM.from_pretrained(made)
    assert AutoTokenizer.from_pretrained(made)("a")["input_ids"]
    before = (made / "model.safetensors").stat().st_mtime_ns
    assert as_safetensors(pickles, tmp_path / "cache") == made
    assert (made / "model.safetensors").stat().st_mtime_ns == before


def test_a_missing_pickle(pickles: Path, tmp_path: Path) -> None:
    """What it holds would be drawn at random, and trained on."""
    first = "pytorch_model-00001-of-00002.bin"
    (pickles / "pytorch_model.bin").rename(pickles / first)
    places = {"a": first, "b": first.replace("00001-of", "00002-of")}
    (pickles / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(
        UserError, match=r"pytorch_model-00002-of-00002\.bin is missing, of 2 files"
    ):
        as_safetensors(pickles, tmp_path / "cache")


def test_several_pickles_and_weights_that_are_one(pickles: Path, tmp_path: Path) -> None:
    weights = torch.load(pickles / "pytorch_model.bin", weights_only=True)
    (pickles / "pytorch_model.bin").unlink()
    names = sorted(weights)
    halves = [names[::2], names[1::2]]
    for number, half in enumerate(halves, start=1):
        shard = {name: weights[name] for name in half}
        shard["again"] = shard[half[0]]  # as a tied head
        torch.save(shard, pickles / f"pytorch_model-0000{number}-of-00002.bin")
    (pickles / "pytorch_model.bin.index.json").write_text("{}")
    made = as_safetensors(pickles, tmp_path / "cache")
    index = json.loads((made / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == {*names, "again"}
    assert not (made / "pytorch_model.bin.index.json").exists()
    net = AutoModelForCausalLM.from_pretrained(made)
    assert torch.equal(net.state_dict()[names[0]], weights[names[0]])


def test_safetensors_stay_where_they_are(tiny_model: Path, tmp_path: Path) -> None:
    assert as_safetensors(tiny_model, tmp_path / "cache") == tiny_model
    assert not (tmp_path / "cache").exists()


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize("kind", ["cut", "code"])
def test_a_pickle_that_is_none(
    kind: str, pickles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = pickles / "pytorch_model.bin"
    content = file.read_bytes()[:100] if kind == "cut" else pickle.dumps(Evil())
    file.write_bytes(content)
    with pytest.raises(StageError, match=r"pytorch_model\.bin: no weights can be read"):
        as_safetensors(pickles, tmp_path / "cache")
    assert not (tmp_path / "executed").exists() and list((tmp_path / "cache").iterdir()) == []


def test_the_base_of_every_stage_is_that_folder(
    pickles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "CACHE", tmp_path / "cache")
    found = model.local_folder(recipe(model__path=str(pickles)).model)
    assert found.parent == tmp_path / "cache" and (found / "model.safetensors").is_file()
