"""What a tokenizer puts around a text, and where its tokens lie in it."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from serve.reading import Reader, framing, take_apart
from tests import kin


def words(template: str) -> Tokenizer:
    """Splits at blanks; ``[C]`` and ``[S]`` where the template has them."""
    vocabulary = {"[U]": 0, "[C]": 1, "[S]": 2, "a": 3, "b": 4}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[U]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["[C]", "[S]"])
    tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=[("[C]", 1), ("[S]", 2)]
    )
    return tokenizer


@pytest.mark.parametrize(
    ("template", "framed"),
    [
        ("$A", ((), ())),
        ("[C] $A", ((1,), ())),
        ("$A [S]", ((), (2,))),
        ("[C] $A [S]", ((1,), (2,))),
        ("[C] [S] $A [S] [S]", ((1, 2), (2, 2))),
    ],
)
def test_framing(template: str, framed: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    assert framing(words(template)) == framed


@pytest.mark.parametrize("family", kin.FAMILIES)
def test_framing_of_the_families(family: str) -> None:
    """T5 has nothing before a text; all have their end behind it."""
    made = framing(kin.backend(family)[0])
    assert made == (() if family in kin.SEQ2SEQ[:3] else (2,), (1,))


def test_places_of_pieces() -> None:
    reader = Reader(words("[C] $A"), None)
    assert reader.pieces("a  b\na") == [(3, 0, 1), (4, 3, 4), (3, 5, 6)]
    assert reader.ids("a  b\na") == [3, 4, 3]


def test_special_tokens_of_a_unigram_model_are_taken_apart() -> None:
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((letter, -5.0) for letter in "</s>a")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    assert 1 in tokenizer.encode("a</s>").ids
    take_apart(tokenizer, ["</s>"])
    assert 1 not in tokenizer.encode("a</s>").ids
