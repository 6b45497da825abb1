"""A completion's end: stops, also on special tokens, and what may not end it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.engine.answer import Answer
from serve.engine.base import GenRequest, GenResult
from serve.engine.sampling import Score
from serve.text import TextCodec

EOS, IM_END = "<|endoftext|>", "<|im_end|>"


def ids_of(codec: TextCodec, *parts: str) -> list[int]:
    """The ids of texts and special tokens."""
    made = [codec.encode_prompt(part, parse_special=True) for part in parts]
    return [token for one in made for token in one.ids[one.lead :]]


class Talk:
    """An answer that is given tokens; EOS is ``<|endoftext|>``, as in a base with a chat's stop."""

    def __init__(self, codec: TextCodec, *stops: str, **fields: object) -> None:
        self.codec, self.shown = codec, [""]
        request = GenRequest(
            "r", (1, 2), max_new_tokens=60, stops=stops, shown=self.shown.append, **fields  # type: ignore[arg-type]
        )  # fmt: skip
        self.answer = Answer(request, codec, frozenset(ids_of(codec, EOS)))

    def add(self, *parts: str) -> GenResult | None:
        """The result once the answer has ended."""
        for token in ids_of(self.codec, *parts):
            if not self.answer.finish_reason:
                self.answer.add(token, Score(-1.0, ()))
        return self.answer.result() if self.answer.finish_reason else None

    def text(self, *parts: str) -> tuple[str, str] | None:
        """The text and why it ended; None while it goes on."""
        result = self.add(*parts)
        if result is None:
            return None
        return "".join(token.text for token in result.tokens), result.finish_reason


@pytest.fixture
def codec(codecs: dict[str, TextCodec]) -> TextCodec:
    """Two special tokens, EOS and ``<|im_end|>``."""
    return codecs["byte_level"]


@pytest.mark.parametrize(
    ("stop", "parts", "text"),
    [
        (IM_END, ["Paris", IM_END, "user"], "Paris"),
        (IM_END + "\n", ["Paris", IM_END, "x", IM_END, "\nuser"], "Parisx"),
        ("is" + IM_END, ["Paris", IM_END, "x"], "Par"),
        ("\n" + IM_END, ["Paris\n", IM_END], "Paris"),
        (IM_END + EOS[:0] + IM_END, ["a", IM_END, "b", IM_END, IM_END], "ab"),
        ("_end|>\nQ", ["a", IM_END, "\nQ"], "a"),  # it may begin within one
        (IM_END, ["<|im", "_end|>", "x"], ""),  # written in letters
        ("ab", ["a", IM_END, "b"], ""),  # no text of its own parts a stop from itself
        ("é!", ["cr", "é", IM_END, "é!"], "cré"),
    ],
    ids=repr,
)
def test_a_stop_that_has_special_tokens(
    codec: TextCodec, stop: str, parts: list[str], text: str
) -> None:
    talk = Talk(codec, "never", stop)
    assert talk.text(*parts) == (text, "stop")
    shown = talk.shown[-1]
    assert text.startswith(shown), "what was streamed was taken back"


def test_special_tokens_are_no_part_of_the_text(codec: TextCodec) -> None:
    assert Talk(codec, "\n").text("a", IM_END, "b", EOS) == ("ab", "eos")


def test_a_stop_that_the_eos_completes(codec: TextCodec) -> None:
    assert Talk(codec, "\n" + EOS).text("a\n", EOS) == ("a", "stop")
    assert Talk(codec, EOS).text("a\n", EOS) == ("a\n", "eos")


def test_ids_that_end_an_answer(codec: TextCodec) -> None:
    [end] = ids_of(codec, IM_END)
    result = Talk(codec, ends=(end,)).add("a", IM_END, "b")
    assert result and result.finish_reason == "eos"
    assert result.end and (result.end.id, result.end.text) == (end, IM_END)
    assert Talk(codec, ignore_eos=True).text("a", EOS, "b") is None
    assert Talk(codec, ignore_eos=True, ends=(end,)).text("a", EOS, "b", IM_END) == ("ab", "eos")


def test_nothing_ends_an_answer_before_its_least_tokens(codec: TextCodec) -> None:
    talk = Talk(codec, "b", min_tokens=3)
    eos = ids_of(codec, EOS)
    assert list(talk.answer.barred) == eos and talk.text("b", "b") is None
    assert list(talk.answer.barred) == eos and talk.text("x") is None
    assert not talk.answer.barred
    assert talk.text("xb") == ("bbxx", "stop"), "stops from before do not count"


STOPS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=3)
PIECES = st.lists(st.sampled_from(["a", "b", IM_END]), max_size=10)


@given(pieces=PIECES, stops=STOPS, special=st.booleans())
def test_what_was_streamed_is_never_taken_back(
    codecs: dict[str, TextCodec], pieces: list[str], stops: list[str], special: bool
) -> None:
    talk = Talk(codecs["byte_level"], *stops, *[IM_END + "b"] * special)
    ended = talk.text(*pieces, EOS)
    assert ended
    assert all(two.startswith(one) for one, two in itertools.pairwise([*talk.shown, ended[0]]))
    assert not any(stop in ended[0] for stop in stops)
    if special:
        assert "".join(pieces).split(IM_END + "b")[0].replace(IM_END, "").startswith(ended[0])


def test_candidates_have_names_of_their_own(codec: TextCodec) -> None:
    """Special tokens as they are written; parts of characters, and unused rows, apart."""
    talk = Talk(codec)
    ids = [*ids_of(codec, EOS, IM_END, "a"), *codec.encode("\U0001b000")[:3], 424]
    talk.answer.add(ids[2], Score(-1.0, tuple((i, -1.0) for i in ids)))
    talk.answer.add(ids[0], Score(-1.0, ()))
    [token] = talk.answer.result().tokens
    names = [name for name, _ in token.candidates]
    parts = [rf"bytes:\x{byte:02x}" for byte in "\U0001b000".encode()[:3]]
    assert names == [EOS, IM_END, "a", *parts, "token_id:424"] and token.name == "a"
