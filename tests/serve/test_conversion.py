"""Folders without tokenizer.json: what they give must be what their own library gives."""

import json
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from transformers import AutoTokenizer, GPT2Tokenizer

from serve.conversion import convert
from serve.text import TextCodec
from tests.serve.conftest import CORPUS, byte_level_tokenizer

PIECES = ["The", " ", "  ", "   ", "\n", "capital", " a", "é", "東", "<s>", "</s>"]
texts = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
).map(lambda parts: "".join(parts).replace("\u2581", ""))

#: As Llama's, Mistral's and Gemma's models are trained.
EXACT = {
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
}
GEMMA = {
    "add_dummy_prefix": False,
    "pad_id": 0,
    "eos_id": 1,
    "bos_id": 2,
    "unk_id": 3,
    "pad_piece": "<pad>",
    "eos_piece": "<eos>",
    "bos_piece": "<bos>",
}
T5 = {"model_type": "unigram", "bos_id": -1, "eos_id": 1, "unk_id": 2, "pad_id": 0}

ALBERT = {
    "model_type": "unigram",
    "normalization_rule_name": "nmt_nfkc_cf",
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": -1,
    "eos_id": -1,
    "control_symbols": "[CLS],[SEP],[MASK]",
}

Maker = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Trains a SentencePiece model: ``trained(architecture, **options)`` gives a model folder."""

    def train(architecture: str, **options: Any) -> Path:
        folder = tmp_path_factory.mktemp(architecture)
        settings = {"vocab_size": 400, "hard_vocab_limit": False, "minloglevel": 2} | options
        SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS * 3), model_prefix=str(folder / "tokenizer"), **settings
        )
        name = "spiece.model" if architecture in ("t5", "albert") else "tokenizer.model"
        (folder / "tokenizer.model").rename(folder / name)
        (folder / "config.json").write_text(json.dumps({"model_type": architecture}))
        return folder

    return train


def processor(folder: Path) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(next(folder.glob("*.model"))))


@pytest.fixture(
    scope="module",
    params=[
        ("llama", EXACT | {"model_type": "bpe"}),
        ("mistral", EXACT | {"model_type": "bpe"}),
        ("gemma", EXACT | GEMMA | {"model_type": "bpe"}),
        ("mistral", EXACT | {"model_type": "unigram"}),
    ],
    ids=["llama bpe", "mistral bpe", "gemma bpe", "unigram"],
)
def exact(request: pytest.FixtureRequest, trained: Maker) -> tuple[TextCodec, Any]:
    """A model that keeps every text: as the worker reads it and as its own library does."""
    folder = trained(request.param[0], **request.param[1])
    return TextCodec.load(folder), processor(folder)


@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_ids_are_sentencepiece_s_own_and_come_back(exact: tuple[TextCodec, Any], text: str) -> None:
    codec, library = exact
    ids = codec.encode(text)
    assert ids == library.encode(text)
    assert codec.decode(ids) == text


def test_it_loses_nothing_and_puts_bos(exact: tuple[TextCodec, Any]) -> None:
    codec, library = exact
    assert codec.lost() == []
    assert codec.encode_prompt("The").ids == (library.bos_id(), *library.encode("The"))
    assert codec.eos_id == library.eos_id()


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_transformers_own_are_not(architecture: str, trained: Maker) -> None:
    """When this fails, transformers gives SentencePiece's ids, and ``_as_sentencepiece`` can go."""
    folder = trained(architecture, **EXACT, model_type="bpe")
    theirs, library = AutoTokenizer.from_pretrained(folder), processor(folder)
    texts = ["The capital", *(" " * count + "a" for count in range(1, 9))]
    wrong = [
        text
        for text in texts
        if theirs.encode(text, add_special_tokens=False) != library.encode(text)
    ]
    assert wrong
    assert theirs.encode("The")[0] != library.bos_id(), "nor does it put BOS"


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextCodec, Any]:
    """Mistral-7B-v0.1's own model, which the package mistral-common brings."""
    folder = tmp_path_factory.mktemp("mistral")
    source = files("mistral_common") / "data" / "tokenizer.model.v1"
    (folder / "tokenizer.model").write_bytes(source.read_bytes())
    (folder / "config.json").write_text('{"model_type": "mistral"}')
    return TextCodec.load(folder), processor(folder)


@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_mistral_s_real_model(mistral: tuple[TextCodec, Any], text: str) -> None:
    codec, library = mistral
    ids = codec.encode(text)
    assert ids == library.encode(text)
    assert codec.decode(ids) == text
    assert codec.encode_prompt(text).ids == (1, *ids)


def test_the_folder_may_say_that_there_is_no_bos(trained: Maker) -> None:
    folder = trained("llama", **EXACT, model_type="bpe")
    (folder / "tokenizer_config.json").write_text('{"add_bos_token": false}')
    assert TextCodec.load(folder).encode_prompt("The").lead == 0


def test_tokens_added_later_keep_their_ids(trained: Maker) -> None:
    folder = trained("llama", **EXACT, model_type="bpe")
    size = processor(folder).vocab_size()
    added = {str(size): {"content": "<|im_end|>", "special": True}}
    config = {"added_tokens_decoder": added, "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    codec = TextCodec.load(folder)
    assert codec.eos_id == size
    assert size not in codec.encode("a<|im_end|>")
    assert codec.encode_prompt("a<|im_end|>", parse_special=True).ids[-1] == size


def test_a_model_without_bytes_loses_what_it_does_not_know(
    trained: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    """Its unknown token stands for any character, so the character is left out; the rest stays."""
    codec = TextCodec.load(trained("mistral", **EXACT | {"byte_fallback": False}, model_type="bpe"))
    assert "does not keep every text" in caplog.text
    assert codec.decode(codec.encode("The 東京 \U0001b000capital")) == "The 東京 capital"


def test_t5_rewrites_spaces_and_line_ends(trained: Maker, caplog: pytest.LogCaptureFixture) -> None:
    """Its normalizer (nmt_nfkc) does, so the model reads none; a client's text stays whole."""
    folder = trained("t5", **T5)
    codec = TextCodec.load(folder)
    assert caplog.text == ""
    for text in ("The capital", " The  end ", "a\nb"):
        assert list(codec.encode_prompt(text).ids) == processor(folder).encode(text)
        assert codec.decode(codec.encode(text)) == text
    assert codec.spelled(codec.encode_prompt("The\n\n capital").ids) == "The capital"
    assert (codec.encode_prompt("The").lead, codec.trail, codec.eos_id) == (0, (1,), 1)


@pytest.fixture(scope="module", params=[("t5", T5), ("albert", ALBERT)], ids=["t5", "albert"])
def lossy(request: pytest.FixtureRequest, trained: Maker) -> tuple[TextCodec, Any]:
    """A model that drops line ends: as the worker reads it and as its own library does."""
    folder = trained(request.param[0], **request.param[1])
    return TextCodec.load(folder), processor(folder)


@given(text=texts)
@settings(max_examples=100, deadline=None)
def test_nothing_is_lost_of_what_such_a_model_drops(
    lossy: tuple[TextCodec, Any], text: str
) -> None:
    codec, _ = lossy
    ids = codec.encode(text)
    assert codec.decode(ids) == text
    assert text.startswith(codec.decode(ids[: len(ids) // 2]))


def test_such_a_model_reads_what_its_library_reads(lossy: tuple[TextCodec, Any]) -> None:
    codec, library = lossy
    for text in (*CORPUS[:2], "\n\nThe  capital\nof"):
        prompt = codec.encode_prompt(text)
        assert list(prompt.ids[prompt.lead :]) == library.encode(text)
        assert len(codec.encode(text.strip())) == len(prompt.ids) - prompt.lead
    assert codec.uncased is library.normalize("ABC").islower()
    assert len(codec.trail) == 1 and codec.eos_id == codec.trail[0]


def test_vocabulary_and_merges(tmp_path: Path) -> None:
    """As GPT-2's first files."""
    made = byte_level_tokenizer()
    made.backend_tokenizer.model.save(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    special = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(special))
    codec = TextCodec.load(tmp_path)
    text = "The capital  of 東京 <|endoftext|>\n"
    assert (
        codec.encode(text)
        == GPT2Tokenizer.from_pretrained(tmp_path, split_special_tokens=True)(text).input_ids
    )
    assert codec.decode(codec.encode(text)) == text
    assert codec.eos_id == 0


def test_a_saved_fast_tokenizer_is_the_converted_one(trained: Maker, tmp_path: Path) -> None:
    """What the chain saves after training is read without conversion, with the same ids."""
    folder = trained("llama", **EXACT, model_type="bpe")
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    convert(folder).tokenizer.save(str(tmp_path / "tokenizer.json"))
    for text in ("The capital", "  two\n", "東京 é"):
        assert TextCodec.load(tmp_path).encode(text) == TextCodec.load(folder).encode(text)
        assert AutoTokenizer.from_pretrained(tmp_path)(text).input_ids


def test_a_folder_with_none_of_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json, \*\.model or vocab\.json"):
        convert(tmp_path)
