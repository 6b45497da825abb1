"""One row as tokens: what is wrong with it, each by its smallest input, on three tokenizers."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from serve.text import TextCodec
from tests.tools.preview.conftest import KINDS
from tools.preview.drawn import Marks, short, text, visible
from tools.preview.examine import Examiner
from tools.preview.rows import Row

Texts = list[tuple[bool, str]]
BARE = Marks("", "", "")


def row(*texts: tuple[bool, str]) -> Row:
    return Row("s", [{"label": learnt, "text": text} for learnt, text in texts], "here:1")


def kinds(examiner: Examiner, *texts: tuple[bool, str], **options: Any) -> list[str]:
    return [fault.kind for fault in examiner.faults(examiner.see(row(*texts)), **options)]


GOOD: Texts = [(False, "Question: Why?\nAnswer:"), (True, " It is 4.")]
TALK: Texts = [*GOOD, (False, "\n\nQuestion: More?\nAnswer:"), (True, " Yes.")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [GOOD, TALK], ids=["one answer", "two answers"])
def test_nothing_is_wrong(kind: str, texts: Texts, codecs: dict[str, TextCodec]) -> None:
    examiner = Examiner(codecs[kind])
    seen = examiner.see(row(*texts))
    assert list(examiner.faults(seen)) == []
    assert len(seen.answers) == sum(learnt for learnt, _ in texts)
    assert all(answer.equal for answer in seen.answers)
    assert seen.lead == (kind == "prepend") and seen.length == len(seen.ids)
    assert 0 < seen.learnt < len(seen.ids) and seen.labels[-1] == codecs[kind].eos_id


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_cut_in_two_is_served_otherwise(kind: str, codecs: dict[str, TextCodec]) -> None:
    examiner = Examiner(codecs[kind])
    assert len(codecs[kind].encode("The capital")) < len("The capital") / 2  # words are tokens
    cut: Texts = [(False, "The capital of Fr"), (True, "ance is Paris.")]
    (fault,) = examiner.faults(examiner.see(row(*cut)))
    assert (
        fault.kind == "served otherwise" and "changes which tokens the prompt ends in" in fault.said
    )
    assert "'ance is Pari'" in fault.said and "'apital of Fr'" in fault.said


@pytest.mark.parametrize("kind", KINDS)
def test_eos_alone_is_learnt(kind: str, codecs: dict[str, TextCodec]) -> None:
    found = kinds(Examiner(codecs[kind]), (False, "The capital of Fr"), (True, "ance"))
    assert "EOS alone learnt" in found and "served otherwise" in found


def test_a_blank_of_the_answer_in_the_prompt(codecs: dict[str, TextCodec]) -> None:
    examiner = Examiner(codecs["byte_level"])
    (first,) = [f for f in examiner.faults(examiner.see(row((False, "Hi Answer: "), (True, "B"))))
                if f.kind == "EOS alone learnt"]  # fmt: skip
    assert "before the blank" in first.remedy


@pytest.mark.parametrize("kind", KINDS)
def test_all_is_learnt(kind: str, codecs: dict[str, TextCodec]) -> None:
    examiner = Examiner(codecs[kind])
    assert kinds(examiner, (True, "All of it.")) == ["100 % learnt"]
    assert kinds(examiner, (True, "All of it."), whole=True) == []
    assert kinds(examiner, (False, "A"), (True, " It.")) == []  # a prompt of one token is one


def test_nothing_is_learnt_of_a_row_cut_before_its_answer(codecs: dict[str, TextCodec]) -> None:
    examiner = Examiner(codecs["byte_level"], cut=4)
    seen = examiner.see(row(*GOOD))
    assert len(seen.ids) == len(seen.labels) == 4 < seen.length
    (fault,) = examiner.faults(seen)
    assert fault.kind == "0 % learnt" and f"behind token 4 of {seen.length}" in fault.said


def test_two_bos(codecs: dict[str, TextCodec]) -> None:
    twice: Texts = [(False, "<s>Question: Why?\nAnswer:"), (True, " It is 4.")]
    assert kinds(Examiner(codecs["prepend"]), *twice) == ["two BOS"]
    assert kinds(Examiner(codecs["byte_level"]), *twice) == []  # of another model it is text


def test_a_tokenizer_without_an_end(folders: dict[str, Path]) -> None:
    silent = TextCodec(
        Tokenizer.from_file(str(folders["byte_level"] / "tokenizer.json")), None, None
    )
    assert kinds(Examiner(silent), *GOOD) == ["no EOS"]
    assert kinds(Examiner(silent), (False, "Hi")) == ["no EOS", "0 % learnt"]


@pytest.mark.parametrize(
    ("answer", "kind"), [(" ", "empty answer"), (" a <|im_start|>", "special")]
)
def test_answers_that_are_none(answer: str, kind: str, codecs: dict[str, TextCodec]) -> None:
    found = kinds(Examiner(codecs["byte_level"]), (False, "Hi"), (True, answer))
    assert any(one.startswith(kind) for one in found)


def test_special_tokens_that_serving_reads(codecs: dict[str, TextCodec]) -> None:
    asked: Texts = [(False, "<|im_start|>Hi\n"), (True, "you")]
    assert kinds(Examiner(codecs["byte_level"]), *asked) == []
    examiner = Examiner(codecs["byte_level"], parse_special=True)
    (fault,) = examiner.faults(examiner.see(row(*asked)))
    assert fault.kind == "served otherwise" and "serve.parse_special=false" in fault.remedy


@pytest.mark.parametrize("kind", ["byte_level", "prepend"])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.text(max_size=20), answer=st.text(min_size=1, max_size=20))
def test_what_is_shown_is_the_row(
    kind: str, asked: str, answer: str, codecs: dict[str, TextCodec]
) -> None:
    codec = codecs[kind]
    seen = Examiner(codec).see(row((False, f"Q{asked}:"), (True, f" {answer}")))
    shown = text(seen, codec, BARE).replace("|", "")
    lead = "<BOS>" if seen.lead else ""
    wanted = visible(f"Q{asked}: {answer}").replace("|", "").replace("\u2581", " ")
    assert shown == f"{lead}{wanted}<EOS>"


def test_what_is_learnt_stands_between_marks(codecs: dict[str, TextCodec]) -> None:
    seen = Examiner(codecs["byte_level"]).see(row(*TALK))
    shown = text(seen, codecs["byte_level"], Marks("[[", "]]", "")).replace("|", "")
    assert shown == (
        "Question: Why?\nAnswer:[[ It is 4.]]\n\nQuestion: More?\nAnswer:[[ Yes.<EOS>]]"
    )


def test_nothing_that_is_shown_moves_the_cursor() -> None:
    assert visible("a\x1b[2J\r\n\tb\x9b\x7f é") == "a\\x1b[2J\\x0d\n\tb\\x9b\\x7f é"


def test_long_ids_are_shown_by_their_ends() -> None:
    assert short([1, 2, 3]) == "1 2 3"
    assert short(range(30)) == "0 1 2 3 4 5 … 24 25 26 27 28 29"
