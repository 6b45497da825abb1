"""Text to tokens and back, for the three kinds of tokenizers that the families use."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer

from serve.text import Detokenizer, StopMatcher, TextCodec

KINDS = ["byte_level", "prepend", "metaspace"]
PIECES = [
    "The",
    " ",
    "  ",
    "\n\n",
    "é",
    "😀",
    "東",
    "<s>",
    "</s>",
    "<|im_end|>",
    "<extra thing>",
    "\x00",
]

# U+2581 is SentencePiece's own mark for a space: such tokenizers cannot tell the two apart.
texts = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
).map(lambda parts: "".join(parts).replace("\u2581", ""))


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


def test_one_bos_where_the_tokenizer_adds_it(codecs: dict[str, TextCodec]) -> None:
    codec = codecs["prepend"]
    plain = codec.encode("The")
    assert codec.encode_prompt("The").ids == (1, *plain)
    assert codec.encode_prompt("<s>The").ids == (1, *plain), "a BOS in the prompt is not doubled"
    assert codec.encode_prompt("The").lead == 1
    assert 1 not in plain
    assert codec.decode([1, *plain]) == "The"


def test_no_bos_where_the_tokenizer_adds_none(codecs: dict[str, TextCodec]) -> None:
    for kind in ("byte_level", "metaspace"):
        prompt = codecs[kind].encode_prompt("The")
        assert (prompt.ids, prompt.lead) == (tuple(codecs[kind].encode("The")), 0)


def test_empty_prompt_starts_from_bos_or_eos(codecs: dict[str, TextCodec]) -> None:
    for kind, start in {"byte_level": 1, "prepend": 1, "metaspace": 1}.items():
        prompt = codecs[kind].encode_prompt("")
        assert (prompt.ids, prompt.lead) == ((start,), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_in_a_text_are_plain_text(codecs: dict[str, TextCodec], kind: str) -> None:
    codec = codecs[kind]
    ids = codec.encode("a</s>b<|im_end|><|endoftext|>")
    assert codec.eos_id not in ids and 0 not in ids


def test_unknown_ids(codecs: dict[str, TextCodec]) -> None:
    assert codecs["byte_level"].unknown_ids([0, 10**30, -1, 5, 421]) == [1, 2, 4]


def test_missing_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        TextCodec.load(tmp_path)


def test_special_tokens_of_the_config_may_be_objects(tmp_path: Path) -> None:
    Tokenizer(models.BPE(vocab={"a": 0, " ": 1, "E": 2}, merges=[])).save(
        str(tmp_path / "tokenizer.json")
    )
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": {"content": "E"}}')
    assert TextCodec.load(tmp_path).eos_id == 2


@given(
    text=st.text("ab\n", max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=12),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
)
@settings(max_examples=500)
def test_stop_is_found_with_the_piece_that_completes_it(
    text: str, cuts: list[int], stops: list[str]
) -> None:
    """Against the plain search: in each prefix of the text, the first stop that is complete."""
    matcher = StopMatcher(stops)
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in itertools.pairwise(bounds):
        places = [text[:end].find(stop) for stop in stops if stop in text[:end]]
        found = matcher.push(text[start:end])
        assert found == (min(places) if places else None)
        if found is not None:
            break
