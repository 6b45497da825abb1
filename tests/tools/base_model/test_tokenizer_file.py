"""A folder of a SentencePiece model alone gets a tokenizer.json, in a folder of links."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests import kin
from tools.base_model.tokenizer_file import with_tokenizer
from tools.errors import UserError

TEXT = "Which key opens the red box? The third one said Xenia; it is 5 or 12 of them.\n"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 as google/t5-v1_1-small lies on the hub: spiece.model, and no tokenizer.json."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("slow") / "t5"
    kin.folder("t5", folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    (folder.parent / "text.txt").write_text(TEXT * 20)
    sentencepiece.SentencePieceTrainer.Train(
        input=str(folder.parent / "text.txt"), model_prefix=str(folder / "spiece"), vocab_size=36,
        model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    (folder / "spiece.vocab").unlink()
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "eos_token": "</s>"})
    )
    return folder


def test_it_is_converted_once(
    slow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = with_tokenizer(slow, tmp_path / "cache")
    assert made.parent == tmp_path / "cache" and not (slow / "tokenizer.json").exists()
    assert "as tokenizer.json (once)" in capsys.readouterr().out
    assert with_tokenizer(slow, tmp_path / "cache") == made and not capsys.readouterr().out
    assert (made / "model.safetensors").read_bytes() == (slow / "model.safetensors").read_bytes()
    tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
    told = tokenizer.encode("the red box")
    assert told.tokens[-1] == "</s>" and tokenizer.decode(told.ids) == "the red box"
    config = json.loads((made / "tokenizer_config.json").read_text())
    assert config["eos_token"] == "</s>" and config["tokenizer_class"] == "T5Tokenizer"
    assert json.loads((slow / "tokenizer_config.json").read_text()).keys() == {
        "tokenizer_class", "extra_ids", "eos_token",
    }  # fmt: skip


def test_one_that_is_there_is_taken(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "spiece.model").write_bytes(b"")
    assert with_tokenizer(tmp_path, tmp_path / "cache") == tmp_path


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(b"no model")
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(UserError, match="its tokenizer cannot be converted"):
        with_tokenizer(tmp_path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
