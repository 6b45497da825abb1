"""The tokens that training puts around prompts and answers, out of each kind of tokenizer."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from tests import kin
from tests.tiny import recipe
from tools.base_model import vocabulary
from tools.errors import UserError
from tools.recipe.schema import Model


def model(family: str, **values: str) -> Model:
    ends = {"end": "</s>", "pad": "<pad>"}
    if family in ("albert", "bert", "electra", "distilbert"):
        ends = {"end": "[SEP]", "pad": "[PAD]"}
    ends |= values
    kind = "seq2seq" if family in kin.SEQ2SEQ else "encoder"
    return recipe(model__kind=kind, model__eos=ends["end"], model__pad=ends["pad"]).model


def saved(family: str, folder: Path) -> Path:
    kin.tokenizer_of(family).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["t5", "bart", "bert", "roberta", "albert", "deberta-v2"])
def test_ids_are_the_tokenizers(family: str, tmp_path: Path) -> None:
    found = vocabulary.special_ids(saved(family, tmp_path), model(family))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert (found["end"], found["pad"]) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert found["trail"] == [tokenizer.eos_token_id]
    assert found.get("mask") == (tokenizer.mask_token_id if family not in kin.SEQ2SEQ else None)
    entries = vocabulary.entries(tmp_path)
    assert entries == tokenizer.get_vocab()


def test_padding_that_a_file_keeps_is_no_trail(tmp_path: Path) -> None:
    folder = saved("bert", tmp_path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(2)
    tokenizer.save(str(folder / "tokenizer.json"))
    assert vocabulary.special_ids(folder, model("bert"))["trail"] == [1]


def test_what_is_no_token_is_named_with_the_nearest(tmp_path: Path) -> None:
    folder = saved("bert", tmp_path)
    with pytest.raises(UserError) as caught:
        vocabulary.special_ids(folder, model("bert", end="[SPE]", pad="<nothing>"))
    first, second = caught.value.faults
    assert first.startswith("model.eos [SPE] is no token of") and "did you mean [SEP]?" in first
    assert second.startswith("model.pad <nothing> is no token of")


def test_a_vocabulary_without_a_mask(tmp_path: Path) -> None:
    folder = saved("bert", tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (folder / name).read_text().replace("[MASK]", "[UNUSED]")
        told = json.loads(text)
        told.pop("mask_token", None)
        (folder / name).write_text(json.dumps(told))
    (fault,) = vocabulary.faults_of(folder, model("bert"))
    assert "its vocabulary has no mask token" in fault
    assert vocabulary.faults_of(folder, recipe(model__kind="seq2seq", model__eos="[SEP]",
                                               model__pad="[PAD]").model) == []  # fmt: skip


def test_a_folder_without_a_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (fault,) = vocabulary.faults_of(tmp_path, model("t5"))
    assert "holds no vocabulary" in fault and "tokenizer.json" in fault
    (tmp_path / "spiece.model").write_bytes(b"")  # it is converted before anything is trained
    assert vocabulary.faults_of(tmp_path, model("t5")) == []


@pytest.mark.parametrize(
    ("family", "small"), [("bert", True), ("albert", True), ("distilbert", False), ("t5", False)]
)
def test_who_knows_no_capitals(family: str, small: bool, tmp_path: Path) -> None:
    assert vocabulary.lowers(saved(family, tmp_path)) is small
