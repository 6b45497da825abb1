"""Where the examples of a prompt begin."""

import pytest

from serve.examples import examples

MMLU = "The following are multiple choice questions.\n\n"
ONE, TWO, ASKED = "Question: a\nA. x\nAnswer: A", "Question: b\n\nA. y\nAnswer: A", "Question: c"


def parted(prompt: str) -> list[str]:
    """The instruction, the examples, the question."""
    made = examples(prompt)
    ends = (*made.starts[1:], len(prompt))
    texts = [prompt[start:end] for start, end in zip(made.starts, ends, strict=True)]
    assert made.instruction + "".join(texts) == prompt
    assert made.without(0) == prompt
    assert made.without(len(texts) - 1) == made.instruction + texts[-1]
    return [made.instruction, *texts]


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        (f"{MMLU}{ONE}\n\n{ASKED}", [MMLU, f"{ONE}\n\n", ASKED]),
        (f"{ONE}\n\n{TWO}\n\n{ASKED}", ["", f"{ONE}\n\n", f"{TWO}\n\n", ASKED]),
        (f"{ONE}\n \n\n{ASKED}\n\n", ["", f"{ONE}\n \n\n", f"{ASKED}\n\n"]),
        ("Add.\n###\nQ: 1\nA: 2\n###\nQ: 3\nA:", ["Add.\n###\n", "Q: 1\nA: 2\n###\n", "Q: 3\nA:"]),
        (
            "Article: a\n\nSummary: b\n\nArticle: c\n\nSummary:",
            ["", "Article: a\n\nSummary: b\n\n", "Article: c\n\nSummary:"],
        ),
        ("a => b\n\nc => d\n\ne =>", ["", "a => b\n\n", "c => d\n\n", "e =>"]),
        (f"{MMLU}{ASKED}", ["", MMLU, ASKED]),
        ("one line", ["", "one line"]),
        ("", ["", ""]),
        ("\n\n", ["", "\n\n"]),
    ],
)
def test_parts(prompt: str, parts: list[str]) -> None:
    assert parted(prompt) == parts


def test_labels_are_short_and_at_the_beginning() -> None:
    """A sentence with a colon far behind, or a colon alone, is no label."""
    assert not examples("a" * 50 + ": x\n\n" + "a" * 50 + ": y").labelled
    assert not examples(": x\n\n: y").labelled
    assert examples("a: x\n\na: y").labelled


def test_many_blank_lines_take_no_time() -> None:
    assert len(examples(("\n" + " " * 50) * 20_000 + "a\n\n" * 20_000).starts) < 20_010
