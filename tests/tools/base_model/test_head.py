"""The head of an encoder: found, refused, or written once."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import kin
from tests.tiny import recipe
from tools.base_model import head
from tools.errors import UserError
from tools.recipe.schema import Model


def model(**values: Any) -> Model:
    return recipe(model__kind="encoder", **{f"model__{k}": v for k, v in values.items()}).model


def headless(family: str, folder: Path, more: dict[str, Any] | None = None) -> Path:
    """A folder as a body alone is published; ``more`` are tensors beside it."""
    kin.folder(family, folder)
    tensors = load_file(folder / "model.safetensors")
    body = ("bert.", "roberta.", "albert.", "electra.", "distilbert.", "deberta.")
    kept = {name: one for name, one in tensors.items() if name.startswith(body)}
    assert len(kept) < len(tensors)
    save_file({**kept, **(more or {})}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("family", kin.ENCODERS)
def test_a_whole_model_is_taken_as_it_is(family: str, tmp_path: Path) -> None:
    folder = kin.folder(family, tmp_path / family)
    assert head.ready(folder, model(), tmp_path / "cache") == folder
    assert head.modules(folder) == [] and not (tmp_path / "cache").exists()


@pytest.mark.parametrize("family", kin.ENCODERS)
def test_a_body_gets_a_head_once(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForMaskedLM

    folder = headless(family, tmp_path / family)
    made = head.ready(folder, model(), tmp_path / "cache")
    assert "writing a head" in capsys.readouterr().out
    assert head.ready(folder, model(), tmp_path / "cache") == made
    assert capsys.readouterr().out == ""
    _, told = AutoModelForMaskedLM.from_pretrained(made, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    tensors = load_file(made / "model.safetensors")
    dense, norm = head.modules(made)
    assert torch.equal(tensors[f"{dense}.bias"], torch.zeros(64))
    assert torch.equal(tensors[f"{norm}.weight"], torch.ones(64))
    weight, config = tensors[f"{dense}.weight"], json.loads((made / "config.json").read_text())
    if config.get("embedding_size", 64) == config.get("hidden_size", 64):
        assert torch.equal(weight, torch.eye(64))
    assert (made / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    before = load_file(folder / "model.safetensors")
    assert all(torch.equal(one, tensors[name]) for name, one in before.items() if name in tensors)


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("electra", "discriminator_predictions.dense.weight"),
        ("deberta-v2", "mask_predictions.dense.weight"),
    ],
)
def test_a_discriminator_is_refused_unless_a_new_head_is_asked_for(
    family: str, name: str, tmp_path: Path
) -> None:
    folder = headless(family, tmp_path / family, {name: torch.zeros(64, 64)})
    with pytest.raises(UserError, match="is a discriminator") as caught:
        head.ready(folder, model(), tmp_path / "cache")
    assert caught.value.faults[0].startswith("model.head: ")
    made = head.ready(folder, model(head="new"), tmp_path / "cache")
    assert head.modules(made) and name not in load_file(made / "model.safetensors")


def test_a_new_head_in_place_of_a_good_one(tmp_path: Path) -> None:
    folder = kin.folder("bert", tmp_path / "bert")
    made = head.ready(folder, model(head="new"), tmp_path / "cache")
    tensors = load_file(made / "model.safetensors")
    assert torch.equal(tensors["cls.predictions.transform.dense.weight"], torch.eye(64))


def test_a_factorized_embedding_is_gone_back_from(tmp_path: Path) -> None:
    """Its identity is the way in, turned round."""
    from transformers import AlbertConfig, AlbertForMaskedLM

    config = AlbertConfig(
        vocab_size=40, embedding_size=8, hidden_size=16, num_attention_heads=2,
        intermediate_size=16, num_hidden_layers=1,
    )  # fmt: skip
    AlbertForMaskedLM(config).save_pretrained(tmp_path / "albert")
    made = head.ready(tmp_path / "albert", model(head="new"), tmp_path / "cache")
    tensors = load_file(made / "model.safetensors")
    way_in = tensors["albert.encoder.embedding_hidden_mapping_in.weight"]
    assert torch.equal(tensors["predictions.dense.weight"], way_in.T)


def test_other_kinds_have_no_head(tmp_path: Path) -> None:
    assert head.ready(tmp_path, recipe(model__kind="seq2seq").model, tmp_path) == tmp_path
    assert head.fault(tmp_path, recipe().model) == ""
