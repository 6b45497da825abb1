"""Blanks in what a model of word pieces writes."""

import random

import pytest

from serve.spacing import Spacing
from serve.text import Detokenizer, TextCodec
from tests.serve.kinds import CASED, T5, UNCASED, load


def written(pieces: str, at_start: bool = True) -> str:
    """Pieces parted by blanks, ``##`` where one goes on."""
    spacing, text = Spacing(at_start), ""
    for piece in pieces.split():
        plain = piece.removeprefix("##") if len(piece) > 2 else piece
        text += spacing.before(plain, plain != piece) + plain
    return text


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ("the answer is 17 .", "the answer is 17."),
        ("un ##break ##able", "unbreakable"),
        ("yes , no ; why ? how !", "yes, no; why? how!"),
        ("it ' s , don ' t , we ' ll", "it's, don't, we'll"),
        ("the dogs ' tails", "the dogs' tails"),
        ("( one ) and [ two ]", "(one) and [two]"),
        ('he said " yes " and " no " .', 'he said "yes" and "no".'),
        ("3 . 14 and 1 , 000 and 12 : 30", "3.14 and 1,000 and 12:30"),
        ("1 , 2 , 3 : 4", "1, 2, 3: 4"),
        ("5 - 3 = 2", "5 - 3 = 2"),
        ("it is - 5", "it is -5"),
        ("$ 5 . 50 , 20 % off", "$5.50, 20% off"),
        ("1 / 2 , and / or , x ^ 2", "1/2, and/or, x^2"),
        ("\\ boxed { 17 }", "\\boxed{17}"),
        ("# # # a . . .", "### a..."),
        ("東 京 is", "東京 is"),
        ("12 ##34 . 5", "1234.5"),
        ("a - - b", "a -- b"),
    ],
)
def test_rule(pieces: str, text: str) -> None:
    assert written(pieces) == text
    assert written(pieces, at_start=False) == f" {text}"


@pytest.mark.parametrize(("pieces", "text"), [(". so", ". so"), ("##s .", "s."), (") a", ") a")])
def test_a_completion_that_goes_on_without_a_blank(pieces: str, text: str) -> None:
    assert written(pieces, at_start=False) == text


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextCodec]:
    root = tmp_path_factory.mktemp("kinds")
    return {kind: load(kind, root) for kind in (CASED, UNCASED, T5)}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (CASED, " the third one, said Xenia."),
        (UNCASED, ' it\'s all (there) is; "no more" - [yes]'),
        (T5, " All cats are animals. Some animals sleep."),
    ],
)
def test_an_answer_is_written_as_it_was_learnt(
    codecs: dict[str, TextCodec], kind: str, text: str
) -> None:
    """Rows' answers begin with a blank; what the model was taught is what the client reads."""
    codec = codecs[kind]
    prompt = codec.encode_prompt(text)
    pieces = Detokenizer(codec, at_start=False)
    shown = [pieces.push(token) for token in prompt.ids[prompt.lead :]]
    assert "".join(shown) + pieces.flush() == text


def test_an_answer_is_the_same_with_its_prompt_before_it(codecs: dict[str, TextCodec]) -> None:
    """Though the prompt ends with a mark that no blank stands behind, in an open quotation."""
    codec = codecs[CASED]
    ids = [codec.encode_prompt(text).ids[1:] for text in ('a "b" is "(', 'The "box"')]
    echo = Detokenizer(codec, at_start=True)
    for token in ids[0]:
        echo.push(token, special=True)
    assert "".join(map(echo.push, ids[1])) == ' The "box"'


def test_tokens_are_called_as_they_are_written(codecs: dict[str, TextCodec]) -> None:
    """A letter behind a prompt has its blank in the name and in the text; no name is twice."""
    codec = codecs[CASED]
    letters = [codec.encode_prompt(letter).ids[1] for letter in ("A", "B", "D")]
    names = codec.names([*letters, codec.eos_id or 0, *codec.encode_prompt("?").ids[1:]])
    assert list(names.values()) == [" A", " B", " D", "[SEP]", "?"]
    for token in letters:
        assert Detokenizer(codec, at_start=False).push(token) == names[token]
    everything = codec.names(range(258))
    assert len(set(everything.values())) == 258


@pytest.mark.parametrize("kind", [CASED, UNCASED, T5])
def test_pieces_of_any_tokens(codecs: dict[str, TextCodec], kind: str) -> None:
    """Whatever a model may write: each token has a text or none, and special ones have none."""
    codec, rng = codecs[kind], random.Random(0)
    for _ in range(200):
        ids = rng.choices(range(320), k=rng.randrange(12))
        pieces = Detokenizer(codec, at_start=False)
        text = "".join(map(pieces.push, ids)) + pieces.flush()
        assert not {"[SEP]", "[MASK]", "</s>"} & set(text.split())
        assert "##" not in text and "\u2581" not in text and "\ufffd" not in text
