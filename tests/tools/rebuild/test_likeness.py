"""How far two models are apart: none for the same, far for another, by what the records say."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.tiny import make_run, save_adapter
from tools.data.prepare import prepare
from tools.rebuild import likeness
from tools.rebuild.likeness import figures, logits
from tools.run.folder import Run
from tools.run.provenance import Record


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Run:
    made = make_run(tmp_path, model__path=str(tiny_model))
    prepare(made)
    return made


def test_the_same_adapter_is_not_apart(run: Run, tiny_adapter: Path) -> None:
    found = logits(run, tiny_adapter, tiny_adapter)
    assert found.difference == 0 and found.holds and "validation rows" in found.text


def test_another_adapter_is_far(
    run: Run, tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    found = logits(run, tiny_adapter, save_adapter(tiny_model, tmp_path / "other", seed=1))
    assert 1 < found.difference < 2 and not found.holds  # two that share nothing: about 1.4


def test_a_little_noise_is_a_little_apart(run: Run, tiny_adapter: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    near = tmp_path / "near"
    shutil.copytree(tiny_adapter, near)
    weights = near / "adapter_model.safetensors"
    save_file({name: tensor * 1.01 for name, tensor in load_file(weights).items()}, weights)
    found = logits(run, tiny_adapter, near)
    assert 0.005 < found.difference < 0.05 and found.holds


def test_models_that_were_trained_whole(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    def trained(name: str, seed: int) -> Path:
        torch.manual_seed(seed)
        net = AutoModelForCausalLM.from_pretrained(tiny_model)
        for weight in net.parameters():
            weight.data += 0.01 * torch.randn_like(weight)
        net.save_pretrained(tmp_path / name)
        return tmp_path / name

    one, other = trained("one", 1), trained("other", 2)
    assert logits(run, one, one).difference == 0
    assert 1 < logits(run, one, other).difference < 2


def record(instances: int = 10, **metrics: Any) -> Record:
    return {"metrics": metrics, "inputs": {"recipe": {"eval": {"max_instances": instances}}}}


def test_figures_of_the_records() -> None:
    then = {"data": record(), "train": record(eval_loss=2.0, steps=3)}
    then["quantize"] = record(quantized_perplexity=4.0)
    now = {"data": record(), "train": record(eval_loss=2.0 * (1 + likeness.LOSS / 2))}
    now["quantize"] = record(quantized_perplexity=4.0 * (1 + 2 * likeness.LOSS))
    loss, perplexity = figures(then, now)
    assert (loss.name, loss.holds) == ("eval_loss", True)
    assert (perplexity.name, perplexity.holds) == ("quantized_perplexity", False)
    assert "4.0000 then" in perplexity.text


def test_what_was_not_measured_or_not_made_has_no_figure() -> None:
    then = {"train": record(eval_loss=None), "quantize": record(quantized_perplexity=2.0)}
    assert list(figures(then, {"train": record(eval_loss=1.0)})) == []


def test_scores_are_held_within_two_standard_errors() -> None:
    then = {"eval_tuned": record(50, scores={"a": 0.5, "b": 0.7})}
    for shift, holds in ((0.0, True), (0.1, True), (0.2, False)):
        scores = {"a": 0.5 + shift, "b": 0.7 + shift}
        (found,) = figures(then, {"eval_tuned": record(50, scores=scores)})
        assert found.holds == holds and math.isclose(found.allowed, 2 * math.sqrt(0.5 / 100))
    (found,) = figures(then, {"eval_tuned": record(50, scores={"a": 0.5})})
    assert not found.holds and found.text == "not the same run specs"
