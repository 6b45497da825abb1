"""Tasks of lm-eval whose answers are longer than the worker's context."""

from pathlib import Path

import pytest

from tests.tiny import recipe
from tools.errors import UserError
from tools.evaluate import lm_lengths
from tools.evaluate.lm_lengths import refuse_longer


def test_a_task_that_leaves_no_room_for_its_prompt_is_refused() -> None:
    """The real lm-eval's: aime25 asks for 32,768 new tokens, gsm8k for its default of 256."""
    made = recipe(serve__context=8192)
    refuse_longer(made, {"gsm8k": None, "humaneval": None, "gpqa": None, "arc_*": None})
    with pytest.raises(UserError) as error:
        refuse_longer(made, {"gsm8k": None, "aime25": None})
    assert error.value.faults == [
        "TASKS: aime25 asks for 32768 new tokens, and serve.context is 8192: no room is left for a "
        "prompt; set eval.max_new_tokens=4096, or raise serve.context"
    ]
    refuse_longer(recipe(serve__context=8192, eval__max_new_tokens=4096), {"aime25": None})


def test_one_of_ones_own_too(tmp_path: Path) -> None:
    task = tmp_path / "own.yaml"
    task.write_text("task: own\ngeneration_kwargs: {max_gen_toks: 3000}\n")
    with pytest.raises(UserError, match="TASKS: own asks for 3000 new tokens"):
        refuse_longer(recipe(), {"own": task})
    task.write_text("task: own\noutput_type: multiple_choice\n")
    refuse_longer(recipe(), {"own": task})


def test_a_bound_beyond_the_context_is_refused_by_its_own_name() -> None:
    with pytest.raises(
        UserError, match=r"eval.max_new_tokens asks for 2048 new .* is 2048: .*lower"
    ):
        refuse_longer(recipe(eval__max_new_tokens=2048), {"gsm8k": None})


def test_the_tasks_of_the_contest_that_lm_eval_has() -> None:
    there = lm_lengths.index()
    assert {"aime25", "gpqa_main_cot_zeroshot", "gsm8k", "humaneval"} <= there.keys()
    missing = ("bfcl", "arena_hard", "arenahard", "healthbench")
    assert not [name for name in there if name.lower().startswith(missing)]
