"""Every character through /tokenize and /decode, whatever the tokenizer drops."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.surface import GAPS, VARIANTS
from serve.text import TextCodec
from tests.serve.kinds import ALBERT, BYTES, CASED, KINDS, LOSSY, PROBES, T5, UNCASED, load, prompts

PIECES = ["The", "the", "THE", "animals", " ", "  ", "\n", "\n\n", "\r\n", "\t", "é", "東", "😀"]
PIECES += ["[MASK]", "[SEP]", "</s>", "<unk>", "##s", "\u2581", ". ", "it's", "5", "\u00ad"]
texts = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
).map("".join)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextCodec]:
    root = tmp_path_factory.mktemp("kinds")
    return {kind: load(kind, root) for kind in KINDS}


@pytest.fixture(scope="module")
def rows() -> list[str]:
    return prompts()


def exact(codec: TextCodec, text: str) -> None:
    """A round trip, by all ids and by each number of the first ones."""
    ids = codec.encode(text)
    assert codec.decode(ids) == text
    assert codec.undecodable(ids) == []
    for count in range(len(ids)):
        assert text.startswith(codec.decode(ids[:count]))


@pytest.mark.parametrize("kind", LOSSY)
@given(text=texts)
@settings(max_examples=100, deadline=None)
def test_round_trip(kinds: dict[str, TextCodec], kind: str, text: str) -> None:
    exact(kinds[kind], text)
    for special in (False, True):
        prompt = kinds[kind].encode_prompt(text, special)
        assert "".join(prompt.texts) == text
        own = len(prompt.ids) - prompt.lead
        assert len(prompt.texts) == (own or bool(text)), "a text without a token is one piece"


@given(text=texts.map(lambda text: text.replace("\u2581", "")))
@settings(max_examples=200, deadline=None)
def test_round_trip_of_bytes(kinds: dict[str, TextCodec], text: str) -> None:
    """A cut may fall inside a character there, as it always could."""
    ids = kinds[BYTES].encode(text)
    assert kinds[BYTES].decode(ids) == text
    for count in range(len(ids)):
        assert text.startswith(kinds[BYTES].decode(ids[:count]).rstrip("\ufffd"))


@pytest.mark.parametrize("kind", LOSSY)
@pytest.mark.parametrize("text", PROBES, ids=lambda text: repr(text)[:20])
def test_hard_texts(kinds: dict[str, TextCodec], kind: str, text: str) -> None:
    exact(kinds[kind], text)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_the_skills(kinds: dict[str, TextCodec], kind: str, rows: list[str]) -> None:
    assert len(rows) == 290
    assert [kinds[kind].decode(kinds[kind].encode(row)) for row in rows] == rows


@pytest.mark.parametrize("kind", LOSSY)
def test_one_id_for_each_token_that_the_model_reads(kinds: dict[str, TextCodec], kind: str) -> None:
    """So a client that counts ids counts what the model reads; its own ids are another list."""
    text = "Question: Which key\nopens the red box?\n\nA. the third one\nB. All\nAnswer: A"
    ids, prompt = kinds[kind].encode(text), kinds[kind].encode_prompt(text)
    assert len(ids) == len(prompt.ids) - prompt.lead
    spelled = kinds[kind].spelled(prompt.ids)
    assert spelled.replace(" ", "").lower() == "".join(text.split()).lower()
    assert max(prompt.ids) < 320 <= max(ids) < 320 * VARIANTS


def test_who_speaks_in_surface_ids(kinds: dict[str, TextCodec]) -> None:
    """The tokenizer tells by what it drops. Where bytes keep all, ids are the model's own."""
    for kind, codec in kinds.items():
        prompt = codec.encode_prompt("All animals\n")
        own = list(prompt.ids[prompt.lead :])
        assert (codec.encode("All animals\n") == own) is (kind not in LOSSY)
        assert bool(prompt.texts) is (kind in LOSSY)
        assert codec.lost() == []


def test_case_and_gap_are_in_the_id(kinds: dict[str, TextCodec]) -> None:
    codec = kinds[UNCASED]
    [one], [capital], [upper] = (codec.encode(text) for text in ("the", "The", "THE"))
    size = capital - one
    assert upper - one == 2 * size
    first, *others = ([ids[-1] for ids in [codec.encode("the" + gap + "the")]] for gap in GAPS[1:])
    assert first[0] == one + 3 * size
    assert [ids[0] for ids in others] == [one + 3 * size * place for place in range(2, len(GAPS))]
    assert {ids % size for ids in (one, capital, upper, first[0])} == {one}


def test_ids_that_encode_never_gives_are_refused(kinds: dict[str, TextCodec]) -> None:
    codec = kinds[T5]
    highest = codec.encode("\U0010ffff")[-1]
    surrogate = highest - 0x10FFFF + 0xD800
    ids = [-1, 0, highest, highest + 1, 2**63, 10**40, surrogate, surrogate - 1]
    assert codec.undecodable(ids) == [0, 3, 4, 5, 6]
    assert codec.decode([0, 2]) == "", "special tokens have no text"


@pytest.mark.parametrize("kind", [CASED, UNCASED, ALBERT])
def test_tokens_around_a_prompt(kinds: dict[str, TextCodec], kind: str) -> None:
    codec = kinds[kind]
    prompt = codec.encode_prompt("The red box")
    assert (prompt.ids[0], prompt.lead, codec.trail, codec.eos_id) == (2, 1, (1,), 1)
    assert (codec.mask_id, codec.never_answered) == (4, frozenset((0, 2, 3, 4)))


def test_only_models_of_small_letters_are_uncased(kinds: dict[str, TextCodec]) -> None:
    assert {kind for kind, codec in kinds.items() if codec.uncased} == {UNCASED, ALBERT}


@pytest.mark.parametrize("kind", LOSSY)
def test_a_long_text_is_linear(kinds: dict[str, TextCodec], kind: str) -> None:
    text = "The red box\n\n" * 4000
    assert kinds[kind].decode(kinds[kind].encode(text)) == text


def test_folders_do_not_say_it(tmp_path: Path) -> None:
    """Neither flag nor file name: the same tokenizer under another class is told just so."""
    codec = load(T5, tmp_path)
    config = tmp_path / T5 / "tokenizer_config.json"
    config.write_text("{}")
    bare = TextCodec.load(tmp_path / T5)
    assert bare.encode("A\n\nb") == codec.encode("A\n\nb")
    assert (bare.eos_id, bare.trail, bare.mask_id) == (1, (1,), 4)
