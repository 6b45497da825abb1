"""Folders of families that are no causal models: heads of their own, quantized weights, gaps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import BitsAndBytesConfig

from serve.config import ServeConfig
from serve.engine import build_engine
from serve.engine.loading import load_model
from serve.startup import StartError
from tests import kin
from tests.serve.engine.families import plain_model


@torch.inference_mode()
def logits(family: str, model: Any) -> torch.Tensor:
    ids = torch.tensor([[7, 8, 9, 1]])
    more = {"decoder_input_ids": torch.tensor([[0, 5, 6]])} if family in kin.SEQ2SEQ else {}
    found: torch.Tensor = model(input_ids=ids, **more).logits
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("loading")

    def folder(family: str) -> Path:
        path = root / family
        return path if path.exists() else kin.folder(family, path)

    return folder


def tokenizer_files(source: Path, target: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (target / name).write_bytes((source / name).read_bytes())


def test_a_head_of_its_own_is_kept(folders: Callable[[str], Path], tmp_path: Path) -> None:
    """Of a T5 v1.1 as transformers writes it: config.json says of every T5 that there is none."""
    source = folders("t5-v1_1")
    transformers.AutoModelForSeq2SeqLM.from_pretrained(source).save_pretrained(tmp_path)
    tokenizer_files(source, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"]
    loaded = load_model(tmp_path, ServeConfig(), "cpu").model
    head, embedding = loaded.lm_head.weight, loaded.get_input_embeddings().weight
    assert not torch.equal(head, embedding)
    plain = plain_model("t5-v1_1", source)
    assert torch.equal(plain.lm_head.weight, head)
    assert torch.equal(logits("t5-v1_1", loaded), logits("t5-v1_1", plain))


FORMATS: dict[str, dict[str, Any]] = {
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "int8": {"load_in_8bit": True},
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("family", ["t5", "t5-v1_1", "bart", "bert", "deberta-v2"])
def test_quantized_weights_are_unpacked(
    folders: Callable[[str], Path], tmp_path: Path, family: str, name: str
) -> None:
    """To nearly what they were, in float32, tied or not; the head stays whole."""
    source = folders(family)
    kind = "Seq2SeqLM" if family in kin.SEQ2SEQ else "MaskedLM"
    getattr(transformers, f"AutoModelFor{kind}").from_pretrained(
        source,
        dtype=torch.float32,
        device_map={"": "cpu"},
        quantization_config=BitsAndBytesConfig(**FORMATS[name]),
    ).save_pretrained(tmp_path / "packed")
    tokenizer_files(source, tmp_path / "packed")
    loaded = load_model(tmp_path / "packed", ServeConfig(), "cpu")
    assert loaded.info.quantization == "bitsandbytes"
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    plain = plain_model(family, source)
    one, other = logits(family, loaded.model), logits(family, plain)
    error = float((one - other).norm() / other.norm())
    assert 0 < error < (0.5 if name == "nf4" else 0.1)
    if family in kin.SEQ2SEQ:
        assert torch.equal(loaded.model.lm_head.weight, plain.lm_head.weight)


def test_a_folder_without_its_head_is_refused(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    """transformers would draw one at random."""
    model = transformers.AutoModel.from_pretrained(folders("bert"))
    model.save_pretrained(tmp_path)
    tokenizer_files(folders("bert"), tmp_path)
    with pytest.raises(StartError, match=r"has no weights for cls\.predictions.* would be noise"):
        load_model(tmp_path, ServeConfig(), "cpu")


def test_answers_without_a_start_are_refused(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    model = plain_model("bart", folders("bart"))
    model.config.decoder_start_token_id = None
    model.generation_config.decoder_start_token_id = None
    model.save_pretrained(tmp_path)
    tokenizer_files(folders("bart"), tmp_path)
    with pytest.raises(StartError, match="no decoder_start_token_id"):
        build_engine(tmp_path, ServeConfig(), "cpu")


@pytest.mark.parametrize("name", ["vllm", "reference", "hf-dynamic"])
def test_other_engines_are_refused(folders: Callable[[str], Path], name: Any) -> None:
    with pytest.raises(StartError, match=f"{name} does not answer with an encoder with a decoder"):
        build_engine(folders("t5"), ServeConfig(engine=name), "cpu")
