"""Text to tokens and back, for the kinds of tokenizers that the families use."""

import itertools
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from serve.text import Detokenizer, PromptTokens, TextCodec
from tests.pace import pace
from tests.serve.conftest import byte_fallback_vocabulary, byte_level_tokenizer, prepend_tokenizer

KINDS = ["byte_level", "prepend", "metaspace"]
PIECES = ["The", " ", "  ", "\n\n", "é", "😀", "東", "\x00"]
PIECES += ["<s>", "</s>", "<|im_end|>", "<extra thing>", "<tool>", "<tools>"]

# U+2581 is SentencePiece's own mark for a space: such tokenizers cannot tell the two apart.
texts = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
).map(lambda parts: "".join(parts).replace("\u2581", ""))


def with_tools(tokenizer: Tokenizer, bos: str = "") -> TextCodec:
    """With added tokens that are not special, one the beginning of the other, and special ones."""
    tools = [AddedToken(text, special=False, normalized=False) for text in ("<tool>", "<tools>")]
    tokenizer.add_tokens(tools)
    tokenizer.add_special_tokens(["<s>", "</s>"])
    if bos:
        ids = [(bos, tokenizer.token_to_id(bos))]
        tokenizer.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=ids)
    return TextCodec(tokenizer, "<s>", "</s>")


def byte_level_with_space() -> TextCodec:
    """Byte-level, but every stretch of text gets a space in front unless it has one."""
    tokenizer = byte_level_tokenizer().backend_tokenizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return with_tools(tokenizer)


def metaspace_of_old() -> TextCodec:
    """As LlamaTokenizer(legacy=True): a space after every added token too, unless it is there."""
    tokenizer = Tokenizer(models.BPE(**bpe(), unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    return with_tools(tokenizer, "<s>")


def bpe() -> dict[str, Any]:
    """Vocabulary and merges of the tokenizers with byte fallback."""
    model = byte_fallback_vocabulary()["model"]
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


def unigram() -> TextCodec:
    """As SentencePiece's unigram models with byte fallback."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -2.0), ("▁The", -4.0)]
    pieces += [(letter, -5.0) for letter in "Theax<tols>/\n"]
    pieces += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    return with_tools(tokenizer, "<s>")


MAKERS: dict[str, Callable[[], TextCodec]] = {
    "byte level": lambda: with_tools(byte_level_tokenizer().backend_tokenizer),
    "byte level, space in front": byte_level_with_space,
    "prepend": lambda: with_tools(prepend_tokenizer().backend_tokenizer),
    "metaspace always": metaspace_of_old,
    "unigram": unigram,
}


@pytest.fixture(scope="session", params=MAKERS)
def made(request: pytest.FixtureRequest) -> TextCodec:
    """A tokenizer with added tokens."""
    return MAKERS[request.param]()


def detokenize(codec: TextCodec, ids: list[int], at_start: bool) -> list[str]:
    detokenizer = Detokenizer(codec, at_start=at_start)
    return [*(detokenizer.push(token) for token in ids), detokenizer.flush()]


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts)
@settings(max_examples=200, deadline=None)
def test_round_trip(codecs: dict[str, TextCodec], kind: str, text: str) -> None:
    codec = codecs[kind]
    ids = codec.encode(text)
    assert codec.decode(ids) == text
    assert "".join(detokenize(codec, ids, at_start=True)) == text
    assert codec.unknown_ids(ids) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text", ["", " ", "  two", " Paris", "\nQ: x\n", "Hello , world .", "it 's", "a</s>b", "<s>a"]
)
def test_round_trip_of_known_traps(codecs: dict[str, TextCodec], kind: str, text: str) -> None:
    assert codecs[kind].decode(codecs[kind].encode(text)) == text


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_pieces_of_any_tokens_are_the_decoded_bytes(
    codecs: dict[str, TextCodec], kind: str, data: st.DataObject
) -> None:
    """Also for sequences that no text encodes to: half characters, special tokens, spare rows."""
    codec = codecs[kind]
    ids = data.draw(st.lists(st.integers(0, 425), max_size=30))
    pieces = detokenize(codec, ids, at_start=False)
    whole = b"".join(map(codec.token_bytes, ids)).decode("utf-8", errors="replace")
    assert "".join(pieces) == whole
    assert len(pieces) == len(ids) + 1


@pytest.mark.parametrize("kind", KINDS)
def test_split_character_comes_with_its_last_token(codecs: dict[str, TextCodec], kind: str) -> None:
    codec = codecs[kind]
    ids = codec.encode("x\U0001b000")[-4:]  # far from the corpus: one token a byte
    assert detokenize(codec, ids, at_start=False) == ["", "", "", "\U0001b000", ""]
    assert detokenize(codec, ids[:3], at_start=False) == ["", "", "", "\ufffd"]


@pytest.mark.parametrize("kind", ["prepend", "metaspace"])
def test_a_continuation_keeps_its_leading_space(codecs: dict[str, TextCodec], kind: str) -> None:
    ids = codecs[kind].encode("The")
    assert detokenize(codecs[kind], ids, at_start=False)[0].startswith(" ")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["The capital", "a\nb  c", "東京 😀"])
def test_same_ids_as_in_training(
    model_dirs: dict[str, Path], codecs: dict[str, TextCodec], kind: str, text: str
) -> None:
    """Training reads the folder with AutoTokenizer; the worker must not drift from it."""
    assert AutoTokenizer.from_pretrained(model_dirs[kind])(text).input_ids == list(
        codecs[kind].encode_prompt(text).ids
    )


@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_round_trip_around_added_tokens(made: TextCodec, text: str) -> None:
    ids = made.encode(text)
    assert made.decode(ids) == text
    assert "".join(detokenize(made, ids, at_start=True)) == text


@given(parts=st.lists(st.sampled_from(["The", " ", "  ", "\n", "</s>", "<tool>", "<tools>", "x"])))
@settings(max_examples=200, deadline=None)
def test_spans_are_where_the_pieces_begin(made: TextCodec, parts: list[str]) -> None:
    text = "".join(parts)
    ids, starts = made.encode_spans(text)
    prompt = made.encode_prompt(text)
    assert tuple(ids) == prompt.ids or not text
    body = ids[starts.count(-1) :]
    pieces = detokenize(made, body, at_start=True)[:-1]
    begins = itertools.accumulate(map(len, pieces[:-1]), initial=0) if pieces else []
    assert starts[starts.count(-1) :] == list(begins)


@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_a_prompt_read_with_its_special_tokens_is_echoed_as_sent(
    made: TextCodec, text: str
) -> None:
    prompt = made.encode_prompt(text, parse_special=True)
    pieces = Detokenizer(made, at_start=True)
    shown = [pieces.push(token, special=True) for token in prompt.ids[prompt.lead :]]
    assert "".join(shown) + pieces.flush() == text
    assert made.encode(text).count(made.eos_id or 0) == 0
    assert prompt.ids.count(made.eos_id or 0) == text.count("</s>")


def test_characters_of_every_block_come_back(made: TextCodec) -> None:
    """Every 13th of Unicode, but surrogates (no text has them) and SentencePiece's mark."""
    usual = [*range(0x500), *range(0x500, 0x110000, 13)]
    every = [chr(c) for c in usual if not 0xD800 <= c < 0xE000 and c != 0x2581]
    for start in range(0, len(every), 1024):
        text = "".join(every[start : start + 1024])
        assert made.decode(made.encode(text)) == text


def test_one_bos_where_the_tokenizer_adds_it(codecs: dict[str, TextCodec]) -> None:
    codec = codecs["prepend"]
    plain = codec.encode("The")
    assert codec.encode_prompt("The") == PromptTokens((1, *plain), lead=1)
    assert 1 not in plain
    assert codec.decode([1, *plain]) == "The"


def test_a_written_bos_is_text_or_the_one_bos(codecs: dict[str, TextCodec]) -> None:
    codec = codecs["prepend"]
    written = codec.encode_prompt("<s>The")
    assert written == PromptTokens((1, *codec.encode("<s>The")), lead=1)
    assert codec.decode(written.ids) == "<s>The"
    read = codec.encode_prompt("<s>The", parse_special=True)
    assert read == PromptTokens((1, *codec.encode("The")), lead=0, written=1)
    assert codec.encode_prompt("The", parse_special=True) == codec.encode_prompt("The")


def test_special_tokens_are_read_as_such_only_when_asked(codecs: dict[str, TextCodec]) -> None:
    for kind, text in {"prepend": "a</s>b", "byte_level": "a<|im_end|>b"}.items():
        codec = codecs[kind]
        assert codec.eos_id not in codec.encode_prompt(text).ids
        assert codec.eos_id in codec.encode_prompt(text, parse_special=True).ids
        assert codec.eos_id not in codec.encode_prompt(text).ids, "the mode does not stick"


def test_special_tokens_are_told(codecs: dict[str, TextCodec]) -> None:
    assert codecs["byte_level"].specials == ["<|endoftext|>", "<|im_end|>"]
    assert codecs["prepend"].specials == ["<unk>", "<s>", "</s>"]


def test_no_bos_where_the_tokenizer_adds_none(codecs: dict[str, TextCodec]) -> None:
    for kind in ("byte_level", "metaspace"):
        prompt = codecs[kind].encode_prompt("The")
        assert (prompt.ids, prompt.lead) == (tuple(codecs[kind].encode("The")), 0)


def test_empty_prompt_starts_from_bos_or_eos(codecs: dict[str, TextCodec]) -> None:
    for codec in codecs.values():
        assert codec.encode_prompt("") == PromptTokens((1,), lead=1)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_in_a_text_are_plain_text(codecs: dict[str, TextCodec], kind: str) -> None:
    codec = codecs[kind]
    ids = codec.encode("a</s>b<|im_end|><|endoftext|>")
    assert codec.eos_id not in ids and 0 not in ids


def test_unknown_ids(codecs: dict[str, TextCodec]) -> None:
    assert codecs["byte_level"].unknown_ids([0, 10**30, -1, 5, 421]) == [1, 2, 4]


def test_a_prompt_without_tokens_starts_from_something() -> None:
    """Even where the tokenizer has neither BOS nor EOS."""
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, " ": 1, "<x>": 2}, merges=[]))
    assert TextCodec(tokenizer, None, None).encode_prompt("").ids == (0,)
    tokenizer.add_special_tokens(["<x>"])
    assert TextCodec(tokenizer, None, None).encode_prompt("").ids == (2,)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_get_the_same_as_one(model_dirs: dict[str, Path], kind: str) -> None:
    codec = TextCodec.load(model_dirs[kind])
    prompts = [f"{i} The capital</s><|im_end|> of 東京 {i}" for i in range(400)]

    def all_ways(prompt: str) -> Any:
        ids = codec.encode_prompt(prompt).ids
        return ids, codec.decode(ids), codec.encode_prompt(prompt, parse_special=True).ids

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(all_ways, prompts))
    assert together == [all_ways(prompt) for prompt in prompts]


def test_decoding_is_linear(codecs: dict[str, TextCodec]) -> None:
    ids = codecs["prepend"].encode("The capital 東京 " * 2000)
    start = time.perf_counter()
    codecs["prepend"].decode(ids)
    assert time.perf_counter() - start < pace(), f"{len(ids)} tokens"


def test_a_tokenizer_that_loses_text_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = byte_level_tokenizer()
    with caplog.at_level(logging.WARNING):
        tokenizer.save_pretrained(tmp_path)
        assert TextCodec.load(tmp_path).lost() == []
        assert caplog.messages == []
        tokenizer.backend_tokenizer.normalizer = normalizers.NFC()  # as Qwen's
        tokenizer.save_pretrained(tmp_path)
        codec = TextCodec.load(tmp_path)
    assert codec.lost() == ["e\u0301"]
    assert len(caplog.messages) == 1
    assert str(tmp_path) in caplog.text and "is read back as 'é'" in caplog.text


def test_an_added_token_that_swallows_spaces_is_named() -> None:
    tokenizer = byte_level_tokenizer().backend_tokenizer
    tokenizer.add_tokens([AddedToken("<wide>", lstrip=True, special=False)])
    assert TextCodec(tokenizer, None, None).lost() == ["a <wide> b"]


def test_missing_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        TextCodec.load(tmp_path)


def test_special_tokens_of_the_config_may_be_objects(tmp_path: Path) -> None:
    Tokenizer(models.BPE(vocab={"a": 0, " ": 1, "E": 2}, merges=[])).save(
        str(tmp_path / "tokenizer.json")
    )
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": {"content": "E"}}')
    assert TextCodec.load(tmp_path).eos_id == 2
