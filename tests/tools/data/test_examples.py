"""A row is an example for each of its answers, with as many blocks before it as fit."""

from typing import Any

import pytest

from serve.overflow import fit_examples
from serve.text import TextCodec
from tests import kin
from tools.data.examples import Count, Example, Room, examples

END = 1


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> TextCodec:
    """BART's kind: every character comes back, and a token begins each prompt."""
    folder = tmp_path_factory.mktemp("tokenizer")
    kin.tokenizer_of("bart").save_pretrained(folder)
    return TextCodec.load(folder)


def row(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    segments = []
    for number, (asked, answer) in enumerate(pairs):
        segments.append({"text": ("\n\n" if number else "") + asked, "label": False})
        segments.append({"text": answer, "label": True})
    return segments


THREE = row(("Q: 1?\nA:", " one"), ("Q: 2?\nA:", " two"), ("Q: 3?\nA:", " three"))


def texts(codec: TextCodec, made: Example | None) -> tuple[str, str]:
    assert made is not None and made.answer[-1] == END
    return codec.decode(made.prompt), codec.decode(made.answer[:-1])


def test_each_answer_is_an_example_without_what_comes_after(codec: TextCodec) -> None:
    made = list(examples(codec, THREE, Room(512, together=False), END))
    assert [lost for _, lost in made] == [0, 0, 0]
    assert [texts(codec, one) for one, _ in made] == [
        ("Q: 1?\nA:", " one"),
        ("Q: 1?\nA: one\n\nQ: 2?\nA:", " two"),
        ("Q: 1?\nA: one\n\nQ: 2?\nA: two\n\nQ: 3?\nA:", " three"),
    ]
    first, _ = made[0]
    assert first is not None and first.prompt == list(codec.encode_prompt("Q: 1?\nA:").ids)
    assert first.row() == {"prompt_ids": first.prompt, "answer_ids": first.answer}


def test_whole_leading_blocks_go_until_it_fits(codec: TextCodec) -> None:
    whole = list(examples(codec, THREE, Room(512, together=True), END))[2][0]
    assert whole is not None
    tight = len(whole.prompt) + len(whole.answer)  # one place too few: the mask's
    made, lost = list(examples(codec, THREE, Room(tight, together=True), END))[2]
    assert lost == 1 and texts(codec, made) == ("Q: 2?\nA: two\n\nQ: 3?\nA:", " three")
    assert list(examples(codec, THREE, Room(tight + 1, together=True), END))[2] == (whole, 0)


def test_an_instruction_stays_as_it_does_when_served(codec: TextCodec) -> None:
    told = [{"text": "Answer in one word.\n\n", "label": False}, *THREE]
    whole = list(examples(codec, told, Room(512, together=True), END))[2][0]
    assert whole is not None
    tight = len(whole.prompt) + len(whole.answer)
    made, lost = list(examples(codec, told, Room(tight, together=True), END))[2]
    assert made is not None and lost == 1
    asked = texts(codec, whole)[0]
    served = fit_examples(asked, codec.encode_prompt, 1, len(whole.prompt), "truncate_left")
    assert tuple(made.prompt) == served.prompt.ids
    assert texts(codec, made)[0].startswith("Answer in one word.\n\nQ: 2?")


def test_apart_the_answer_has_a_window_of_its_own(codec: TextCodec) -> None:
    (whole, _), *_ = examples(codec, THREE, Room(512, together=False), END)
    assert whole is not None
    size = len(whole.prompt) + 1
    assert next(iter(examples(codec, THREE, Room(size, together=False), END)))[0] == whole
    assert next(iter(examples(codec, THREE, Room(size - 1, together=False), END)))[0] is None
    assert next(iter(examples(codec, THREE, Room(size, together=True), END)))[0] is None


def test_what_does_not_fit_is_counted_and_said(codec: TextCodec) -> None:
    count = Count()
    for made, lost in ((Example([1, 2], [3, END]), 0), (Example([1], [END]), 2), (None, 1)):
        count.add(made, lost)
    assert (count.examples, count.shortened, count.blocks, count.dropped) == (2, 1, 2, 1)
    assert (count.learnt, count.tokens) == (3, 8)
    said = count.said(128)
    assert "1 of 2 answers lost 2 whole examples" in said and "1 answers are left out" in said
    assert said.endswith("the window is 128 tokens") and Count(examples=3).said(128) == ""


def test_a_text_without_a_prompt_is_asked_of_nothing(codec: TextCodec) -> None:
    segments = [{"text": "all of it", "label": True}]
    ((made, _),) = examples(codec, segments, Room(64, together=False), END)
    assert texts(codec, made) == ("", "all of it")
