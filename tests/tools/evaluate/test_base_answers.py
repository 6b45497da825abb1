"""The base model's answers to training rows: greedy, cut to size, and on the day's clock."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serve.text import TextCodec
from tests import kin
from tests.tiny import jsonl, make_run
from tools.day import budget
from tools.errors import UserError
from tools.evaluate.base_answers import MORE, BaseAnswers, request
from tools.recipe.operators.declared import Score
from tools.run.folder import Run


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Run:
    """A run whose rows are scored by its base."""
    file = tmp_path / "own.jsonl"
    file.write_text('{"prompt": "Two plus two is", "completion": " four"}\n' * 3)
    own = jsonl(file, operators=[{"score": Score("base")}])
    return make_run(tmp_path, data__sources={"own": own}, model__path=str(tiny_model))


def test_answers_are_greedy_and_their_time_is_the_days(run: Run) -> None:
    prompts, wanted = ["Two plus two is", "The capital of France is"], [" four", " Paris\nRome"]
    before = budget.day(run)
    assert before.used["data"] == 0
    one, other = BaseAnswers(run)(prompts, wanted)
    assert BaseAnswers(run)(prompts[::-1], wanted[::-1]) == [other, one]
    assert "\n" not in one and 0 < len(other.split()) <= 2 + MORE + 20
    after = budget.day(run)
    assert after.used["data"] > 0 and after.left < before.left
    assert not BaseAnswers(run)([], [])


def test_it_stops_where_the_day_is_over(run: Run) -> None:
    run.recipe.budget.hours = 0
    with pytest.raises(UserError, match=r"score\.by: base: the day's .* are over after 0 of 1"):
        BaseAnswers(run)(["a"], ["b"])


@pytest.mark.parametrize("whole", [True, False])
def test_of_a_model_that_reads_all_at_once_no_half_example_is_left(
    whole: bool, tmp_path: Path
) -> None:
    text = TextCodec.load(kin.folder("bert", tmp_path / "bert"))
    engine: Any = SimpleNamespace(text=text, info=SimpleNamespace(context=43))
    blocks = [f"Question: which key is number {n}?\nAnswer: the red" for n in range(4)]
    prompt = "\n\n".join([*blocks, "Question: which?\nAnswer:"])
    asked = request(engine, 0, prompt, " red", whole).prompt
    left = [prompt.split("\n\n", n)[-1] for n in range(5)]
    parts = [text.encode_prompt(one).ids for one in left]
    assert len(parts[0]) > 43 >= len(asked)
    assert (asked in parts) == whole
