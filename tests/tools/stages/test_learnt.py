"""What training wrote: numbers, and other ones than it began with."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.tools.stages import bases
from tests.tools.stages.merging.test_trained import train
from tools.errors import StageError
from tools.stages.learnt import look


def save_adapter(folder: Path, a: float, b: float) -> None:
    tensors = {"q.lora_A.weight": torch.full((2, 3), a), "q.lora_B.weight": torch.full((3, 2), b)}
    save_file(tensors, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(("a", "b"), [(math.nan, 1.0), (1.0, math.inf)])
def test_an_adapter_of_no_numbers(a: float, b: float, tmp_path: Path) -> None:
    save_adapter(tmp_path, a, b)
    with pytest.raises(StageError, match="the adapter holds NaN or infinite numbers; lower"):
        look(tmp_path, tmp_path)


@pytest.mark.parametrize(("b", "moved"), [(0.0, False), (0.5, True)])
def test_an_adapter(b: float, moved: bool, tmp_path: Path) -> None:
    save_adapter(tmp_path, 1.0, b)
    found = look(tmp_path, tmp_path)
    assert (found.parameters, found.moved) == (12, moved)
    assert "every lora_B is zero" in found.untrained


@pytest.mark.parametrize("name", ["gpt2", "smollm2"])
def test_a_whole_model(name: str, tmp_path: Path) -> None:
    """Its names are transformers', the base's the maker's; one moved weight is enough."""
    base = bases.write(tmp_path / "base", name, "safetensors")
    net = AutoModelForCausalLM.from_pretrained(base)
    net.save_pretrained(tmp_path / "same")
    assert not look(tmp_path / "same", base).moved
    next(net.parameters()).data[0, 0] += 1
    net.save_pretrained(tmp_path / "moved")
    found = look(tmp_path / "moved", base)
    assert found.moved and found.parameters == sum(one.numel() for one in net.parameters())


def test_a_whole_model_of_another_type_that_learnt_nothing(tmp_path: Path) -> None:
    base = bases.write(tmp_path / "base", "llama", "shards", torch.float32)
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(
        tmp_path / "same"
    )
    assert not look(tmp_path / "same", base).moved


def test_a_whole_model_with_more_tokens(tmp_path: Path) -> None:
    base = bases.write(tmp_path / "base", "llama", "safetensors")
    net = AutoModelForCausalLM.from_pretrained(base)
    net.resize_token_embeddings(302)
    net.save_pretrained(tmp_path / "grown")
    assert look(tmp_path / "grown", base).moved


def test_a_whole_model_of_no_numbers(tmp_path: Path) -> None:
    base = bases.write(tmp_path / "base", "llama", "safetensors")
    path = max(train(base, tmp_path / "trained").glob("*.safetensors"))
    tensors = load_file(path)
    tensors[min(tensors)].view(-1)[0] = math.nan
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(StageError, match="the model holds NaN or infinite numbers"):
        look(tmp_path / "trained", base)
