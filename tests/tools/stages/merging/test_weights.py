"""The files of a base: what is wrong with them is said before anything is trained."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tools.stages import bases
from tools.errors import UserError
from tools.stages.merging import weights


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return bases.write(tmp_path / "base", "llama", "shards")


FIRST = "model-00001-of-00002.safetensors"


def test_a_whole_base(shards: Path) -> None:
    assert weights.faults(shards) == []
    assert set(weights.read(shards)) == {
        name for path in shards.glob("*.safetensors") for name in load_file(path)
    }


def test_a_missing_shard(shards: Path) -> None:
    (shards / FIRST).unlink()
    (fault,) = weights.faults(shards)
    assert f"{FIRST} is missing, one of the 2 files" in fault and "fetch it again" in fault


@pytest.mark.parametrize(("kept", "said"), [(-100, "is cut off"), (20, "is no file"), (0, "is no")])
def test_a_truncated_shard(kept: int, said: str, shards: Path) -> None:
    path = shards / FIRST
    path.write_bytes(path.read_bytes()[:kept])
    (fault,) = weights.faults(shards)
    assert said in fault and str(path) in fault and "fetch it again" in fault


def test_all_faults_come_together(shards: Path) -> None:
    for path in shards.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    (shards / "config.json").write_text(
        json.dumps({"quantization_config": {"quant_method": "bitsandbytes"}})
    )
    faults = weights.faults(shards)
    assert len(faults) == 3
    assert "its weights are quantized (bitsandbytes)" in faults[2]
    assert "take the model it was made from" in faults[2]


def test_an_index_of_another_version(shards: Path) -> None:
    path = shards / FIRST
    tensors = load_file(path)
    lost = sorted(tensors)[0]
    save_file({name: one for name, one in tensors.items() if name != lost}, path)
    (fault,) = weights.faults(shards)
    assert f"names 1 tensor(s) that its files do not hold, first {lost} in {FIRST}" in fault


def test_no_weights_are_training_s_to_tell_and_the_merge_s(tmp_path: Path) -> None:
    assert weights.faults(tmp_path) == []
    with pytest.raises(UserError, match=r"holds neither model\.safetensors nor"):
        weights.read(tmp_path)


def test_written_files_are_read_by_safetensors(tmp_path: Path) -> None:
    """Types of different sizes: each tensor begins at a multiple of its own."""
    tensors = {
        "mask": torch.tensor([True, False, True]),
        "half": torch.arange(5, dtype=torch.float16),
        "whole": torch.arange(3, dtype=torch.float64),
        "scalar": torch.tensor(7.0),
        "none": torch.zeros(0, 4),
    }
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    held = weights.read(tmp_path)
    new = held["half"].resized([2, 5])
    values = torch.ones(10, dtype=torch.float16).view(torch.uint8).numpy().data
    chosen = [new if name == "half" else one for name, one in held.items()]
    weights.write(
        tmp_path / "new.safetensors",
        chosen,
        lambda one: values if one.name == "half" else None,
        {"format": "pt", "by": "us"},
    )
    found = load_file(tmp_path / "new.safetensors")
    assert found.keys() == tensors.keys()
    assert torch.equal(found.pop("half"), torch.ones(2, 5, dtype=torch.float16))
    assert all(torch.equal(one, tensors[name]) for name, one in found.items())
    assert weights.metadata(tmp_path / "new.safetensors") == {"format": "pt", "by": "us"}
