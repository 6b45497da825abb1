"""What transformers does not read of a GGUF, read: scaled positions, and whether a BOS is put."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tests.tiny import recipe
from tests.tools.base_model.test_folder import write_gguf
from tools.base_model import folder, gguf_file
from tools.errors import UserError

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def factors(**changed: float) -> Any:
    """As llama.cpp's converter writes them: plain frequencies over Llama 3's."""
    config = LlamaConfig(
        hidden_size=64, num_attention_heads=1, rope_parameters={**LLAMA3, **changed}
    )
    slowed, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 500000.0 ** (-torch.arange(0, 64, 2) / 64)
    return (plain / slowed).numpy().astype(numpy.float32)


Change = Callable[[Any], None]


def scaled(writer: Any) -> None:
    writer.add_rope_freq_base(500000.0)
    writer.add_tensor("rope_freqs.weight", factors())


def test_a_plain_file(tmp_path: Path) -> None:
    assert gguf_file.told(write_gguf(tmp_path / "m.gguf")) == {"rope": {}, "add_bos": False}


def test_llama_3_is_found_again(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", scaled, heads=1)
    found = gguf_file.told(file)["rope"]
    assert found == {name: value for name, value in LLAMA3.items() if name != "rope_theta"}
    folder._convert(file, recipe().model, tmp_path / "made")
    net = AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    assert net.config.rope_parameters == LLAMA3
    slowed, _ = ROPE_INIT_FUNCTIONS["llama3"](net.config, torch.device("cpu"))
    assert torch.equal(net.model.rotary_emb.inv_freq, slowed)


def test_transformers_own_drops_it(tmp_path: Path) -> None:
    """When this fails, ``gguf_file`` need not look for it."""
    file = write_gguf(tmp_path / "m.gguf", scaled, heads=1)
    net = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name)
    assert net.config.rope_parameters["rope_type"] == "default"


def linear(writer: Any) -> None:
    writer.add_rope_scaling_type(_scaling("LINEAR"))
    writer.add_rope_scaling_factor(4.0)


def _scaling(name: str) -> Any:
    import gguf

    return gguf.RopeScalingType[name]


def test_linear(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", linear)
    assert gguf_file.told(file)["rope"] == {"rope_type": "linear", "factor": 4.0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda writer: writer.add_rope_scaling_type(_scaling("YARN")), "rope.scaling.type=yarn"),
        (
            lambda writer: writer.add_tensor("rope_factors_long.weight", factors()),
            "rope_factors_long.weight",
        ),
        (
            lambda writer: writer.add_tensor("rope_freqs.weight", factors(low_freq_factor=2.0)),
            "rope_freqs that are not Llama 3.1's",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(change: Change, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        gguf_file.told(write_gguf(tmp_path / "m.gguf", change))
    (fault,) = caught.value.faults
    assert fault.startswith("model.package.file: m.gguf ") and said in fault
    assert "set model.source=local and model.path" in fault


@pytest.mark.parametrize("adds", [True, False])
def test_bos_and_eos_are_the_files_own(adds: bool, tmp_path: Path) -> None:
    """transformers 5.16 took a Llama's BOS for its EOS."""
    file = write_gguf(tmp_path / "m.gguf", lambda writer: writer.add_add_bos_token(adds))
    model = recipe(model__bos="<|endoftext|>").model
    folder._convert(file, model, tmp_path / "made")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "made")
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1)
    assert (tokenizer("The")["input_ids"][0] == 0) is adds
    net = AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    for config in (net.config, net.generation_config):
        assert (config.bos_token_id, config.eos_token_id) == (0, 1)


def test_transformers_own_reads_eos_right(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    assert tokenizer.eos_token_id == 1, "of a Llama it took BOS for EOS up to 5.16"


def test_a_recipe_that_names_no_token(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf")
    model = recipe(model__eos="<|im_edn|>", model__bos="<s>").model
    with pytest.raises(UserError) as caught:
        folder._convert(file, model, tmp_path / "made")
    bos, eos = caught.value.faults
    assert bos.startswith("model.bos: '<s>' is no token of own/tiny")
    assert eos == "model.eos: '<|im_edn|>' is no token of own/tiny; did you mean <|im_end|>?"
