"""Models with random weights."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.random_model import EOS, SHAPES, byte_tokenizer, main
from serve.text import TextCodec


def test_a_folder_that_loads_and_never_ends_an_answer(tmp_path: Path) -> None:
    assert main([str(tmp_path / "made"), "--shape", "tiny"]) == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "made", dtype="auto")
    assert model.dtype == torch.bfloat16
    text = TextCodec.load(tmp_path / "made")
    assert text.decode(text.encode("Ab é\n")) == "Ab é\n"
    ids = torch.tensor([text.encode("any")])
    made = model.generate(ids, max_new_tokens=100, do_sample=False)[0]
    assert len(made) == 103 and text.eos_id not in made.tolist()


def test_the_same_weights_every_time(tmp_path: Path) -> None:
    for name in ("one", "other"):
        main([str(tmp_path / name), "--shape", "tiny", "--dtype", "float32"])
    one, other = ((tmp_path / name / "model.safetensors") for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_another_s_tokenizer(tmp_path: Path, model: Path) -> None:
    main([str(tmp_path / "made"), "--shape", "tiny", "--tokenizer", str(model)])
    assert TextCodec.load(tmp_path / "made").eos_id == TextCodec.load(model).eos_id
    assert AutoConfig.from_pretrained(tmp_path / "made").vocab_size > SHAPES["tiny"]["vocab_size"]


@pytest.mark.parametrize(("shape", "billions"), [("mistral-7b", 7.24), ("llama-1b", 1.1)])
def test_shapes_are_of_the_size_they_say(shape: str, billions: float) -> None:
    settings = dict(SHAPES[shape])
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert model.num_parameters() / 1e9 == pytest.approx(billions, rel=0.01)


def test_the_byte_tokenizer_has_an_end() -> None:
    assert byte_tokenizer().eos_token == EOS
