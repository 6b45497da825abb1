"""Rows: letter by letter the prompts that HELM sends, with the loss on the answers alone."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.evaluate.helm.test_plugin import documented
from tools.data.render import Pair, blocks, held_out, pair, row
from tools.data.skills import SKILLS, Question

ASKED = {  # the questions in tools.evaluate.helm.plugin's docstring, and the last answer
    "letter": [
        Question("Q1", "b", "letter", ("a", "b")),
        Question("Q2", "c", "letter", ("c", "d")),
        Question("Q3", "f", "letter", ("e", "f")),
    ],
    "string": [Question(f"Q{n}", word, "string") for n, word in ((1, "one"), (2, "two"), (3, "x"))],
    "number": [
        Question("Q1", "1 + 1 = 2. The answer is 2.", "number"),
        Question("Q2", "3 + 4 = 7. The answer is 7.", "number"),
        Question("Q3", "The answer is 9.", "number"),
    ],
}
LAST = {"letter": " B", "string": " x", "number": " The answer is 9."}


def text(made: dict[str, Any]) -> str:
    return "".join(segment["text"] for segment in made["segments"])


@pytest.mark.parametrize("form", ASKED)
def test_a_row_is_helms_prompt_and_the_answer(form: str) -> None:
    made = row([pair("skill", question) for question in ASKED[form]])
    assert text(made) == documented(form) + LAST[form]
    assert made["skill"] == "skill"


def pairs(seed: int, count: int) -> list[Pair]:
    """Questions of two skills, and some free prompts."""
    rng = random.Random(seed)
    found = [pair(name, SKILLS[name](rng)) for name in ("boxes", "counting") for _ in range(count)]
    return [*found, *(Pair("free", f"p{n}", f" c{n}") for n in range(count))]


@given(seed=st.integers(0, 999), count=st.integers(0, 9), shots=st.integers(1, 5))
def test_blocks_part_the_pairs(seed: int, count: int, shots: int) -> None:
    given_pairs = pairs(seed, count)
    cut = list(blocks(given_pairs, shots, random.Random(seed)))
    assert sorted(repr(p) for block in cut for p in block) == sorted(map(repr, given_pairs))
    for block in cut:
        assert len({p.source for p in block}) == 1
        assert 1 <= len(block) <= (1 if block[0].source == "free" else shots)


def test_blocks_of_every_size_occur() -> None:
    sizes = {len(block) for block in blocks(pairs(0, 50), 3, random.Random(0))}
    assert sizes == {1, 2, 3}


@given(seed=st.integers(0, 999), shots=st.integers(1, 5))
def test_only_answers_are_learnt(seed: int, shots: int) -> None:
    for block in blocks(pairs(seed, 4), shots, random.Random(seed)):
        made = row(block)
        learnt = [segment["text"] for segment in made["segments"] if segment["label"]]
        assert learnt == [p.completion for p in block]
        assert text(made).startswith(block[0].prompt)


def test_held_out_rows_are_what_the_plugin_reads() -> None:
    assert held_out(pair("counting", ASKED["letter"][0]), "test-0") == {
        "id": "test-0",
        "skill": "counting",
        "format": "letter",
        "input": "Q1",
        "output": "b",
        "choices": ["a", "b"],
    }
