"""A ``generation_config.json`` that says what it does not mean, as bases of the hub have it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.stages.generation import FILE, settle

LLAMA_2 = {"temperature": 0.9, "top_p": 0.6, "eos_token_id": 1}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (LLAMA_2, {**LLAMA_2, "do_sample": True}),
        ({**LLAMA_2, "do_sample": False}, {"eos_token_id": 1, "do_sample": False}),
        ({**LLAMA_2, "do_sample": True}, {**LLAMA_2, "do_sample": True}),
        ({"eos_token_id": 1}, {"eos_token_id": 1}),
    ],
)
def test_it_agrees_with_itself(
    before: dict[str, Any], after: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / FILE).write_text(json.dumps(before))
    settle(tmp_path)
    assert json.loads((tmp_path / FILE).read_text()) == after


def test_a_base_without_one(tmp_path: Path) -> None:
    settle(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [{}, {"do_sample": False}])
def test_transformers_saves_what_was_settled_and_only_that(
    more: dict[str, Any], tmp_path: Path
) -> None:
    from transformers import GenerationConfig

    (tmp_path / FILE).write_text(json.dumps({**LLAMA_2, **more}))
    with pytest.raises(ValueError, match="invalid"):
        GenerationConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "out")
    settle(tmp_path)
    GenerationConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "out")
