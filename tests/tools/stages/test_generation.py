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


def test_what_forces_an_answer_goes(tmp_path: Path) -> None:
    """Of an encoder-decoder, from both files; transformers' own default for BART, too."""
    from transformers import BartConfig, GenerationConfig

    BartConfig(decoder_start_token_id=2).save_pretrained(tmp_path)
    model = json.loads((tmp_path / "config.json").read_text())
    model |= {"num_beams": 4, "task_specific_params": {"summarization": {"num_beams": 6}}}
    (tmp_path / "config.json").write_text(json.dumps(model))
    (tmp_path / FILE).write_text(json.dumps({"forced_bos_token_id": 0, "min_length": 56}))
    settle(tmp_path)
    made = GenerationConfig.from_pretrained(tmp_path)
    assert (made.forced_bos_token_id, made.forced_eos_token_id) == (None, None)
    assert (made.decoder_start_token_id, made.eos_token_id, made.pad_token_id) == (2, 2, 1)
    model = json.loads((tmp_path / "config.json").read_text())
    assert not {"num_beams", "task_specific_params"} & model.keys()
    assert BartConfig.from_pretrained(tmp_path).forced_eos_token_id is None


def test_an_encoder_has_none_and_gets_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    settle(tmp_path)
    assert not (tmp_path / FILE).exists()
