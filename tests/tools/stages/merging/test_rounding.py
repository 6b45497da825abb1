"""Through 4 bits and back: the very numbers of a base that transformers has loaded in 4 bits."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tests.tools.stages import bases
from tools.stages.merging.rounding import Rounding


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "weight", "turned"),
    [
        ("gpt2", "transformer.h.0.mlp.c_fc", True),
        ("llama", "model.layers.1.mlp.down_proj", False),
    ],
)
def test_as_transformers_has_it(
    name: str, weight: str, turned: bool, dtype: torch.dtype, double: bool, tmp_path: Path
) -> None:
    base = bases.write(tmp_path / "base", name, "safetensors")
    how = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=double
    )
    net = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, quantization_config=how)
    wanted = net.dequantize().get_submodule(weight).weight
    files = load_file(base / "model.safetensors")
    clean = files[f"{weight.removeprefix('transformer.')}.weight"]
    found = Rounding(how, dtype, "cpu").as_trained(clean, transposed=turned)
    assert found.dtype == dtype and not torch.equal(found, clean.to(dtype))
    assert torch.equal(found, wanted.T if turned else wanted)
