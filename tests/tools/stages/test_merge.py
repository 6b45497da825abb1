"""The merge verb: its own check of the merged model, on merges that are right and wrong."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from tests.tiny import make_run
from tools.data.prepare import prepare
from tools.errors import StageError
from tools.run.folder import Run
from tools.stages import merge

DOUBLE = "bnb_4bit_use_double_quant"
# As Axolotl loads a base for qlora.
NF4 = BitsAndBytesConfig(
    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
)


def write_merged(base: Any, adapter: Path, tokenizer: Path, folder: Path, scale: float = 1) -> None:
    """What Axolotl's merge writes; ``scale`` makes it wrong."""
    net = PeftModel.from_pretrained(base, adapter)
    for module in net.modules():
        if isinstance(module, LoraLayer):
            module.scaling["default"] *= scale
    net.merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)


def load(folder: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **options)


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Run:
    made = make_run(tmp_path / "runs", model__path=str(tiny_model))
    prepare(made)
    return made


def test_a_right_merge(run: Run, tiny_model: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    write_merged(load(tiny_model), tiny_adapter, tiny_model, tmp_path / "m")
    found = merge._verify(run, tiny_model, tiny_adapter, tmp_path / "m")
    assert found["max_logit_diff"] < 1e-4 < 0.1 < found["max_logit_change"]


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_wrong_merge(
    scale: float, run: Run, tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    write_merged(load(tiny_model), tiny_adapter, tiny_model, tmp_path / "m", scale)
    with pytest.raises(StageError, match=r"more than merge\.max_logit_error = 0\.001"):
        merge._verify(run, tiny_model, tiny_adapter, tmp_path / "m")


@pytest.mark.parametrize(("options", "double"), [({}, True), ({DOUBLE: False}, False)])
def test_the_base_is_loaded_as_it_was_trained(
    options: dict[str, Any], double: bool, tmp_path: Path
) -> None:
    train = {"adapter": "qlora", "load_in_4bit": True, "bnb_config_kwargs": options}
    run = make_run(tmp_path, merge__method="nf4_aware", train=train)
    assert (
        merge._as_trained(run, tmp_path)["quantization_config"].bnb_4bit_use_double_quant is double
    )


def test_a_base_that_calls_itself_merged(run: Run, tiny_model: Path, tiny_adapter: Path) -> None:
    with pytest.raises(StageError, match="nothing was merged"):
        merge._verify(run, tiny_model, tiny_adapter, tiny_model)


def test_a_merged_model_of_nan(
    run: Run, tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    base = load(tiny_model)
    base.lm_head.weight.data[0] = math.nan
    write_merged(base, tiny_adapter, tiny_model, tmp_path / "m")
    with pytest.raises(StageError, match=r"base \+ adapter by nan"):
        merge._verify(run, tiny_model, tiny_adapter, tmp_path / "m")


def test_a_qlora_adapter_belongs_on_the_quantized_base(
    run: Run, tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    run.recipe.merge.method, run.recipe.train["adapter"] = "nf4_aware", "qlora"
    rounded = load(tiny_model, quantization_config=NF4).dequantize()
    write_merged(rounded, tiny_adapter, tiny_model, tmp_path / "aware")
    write_merged(load(tiny_model), tiny_adapter, tiny_model, tmp_path / "plain")
    assert merge._verify(run, tiny_model, tiny_adapter, tmp_path / "aware")["max_logit_diff"] < 1e-4
    with pytest.raises(StageError, match=r"try merge\.method=plain"):
        merge._verify(run, tiny_model, tiny_adapter, tmp_path / "plain")
    run.recipe.merge.method = "plain"
    merge._verify(run, tiny_model, tiny_adapter, tmp_path / "plain")


def test_the_verb(run: Run, tiny_adapter: Path) -> None:
    with run.produce("train") as work:
        for path in tiny_adapter.iterdir():
            (work.folder / path.name).write_bytes(path.read_bytes())

    found = merge.merge(run)
    assert run.done("merge")
    names = {path.name for path in run.output("merge").iterdir()}
    assert {"config.json", "model.safetensors", "generation_config.json"} <= names
    record = run.record("merge")
    assert record is not None and record["metrics"] == found


def test_sampling_words_without_do_sample(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    """As Llama 2's first release has them: transformers would not save such a model again."""
    base = tmp_path / "a base"
    shutil.copytree(tiny_model, base)
    (base / "generation_config.json").write_text('{"temperature": 0.9, "top_p": 0.6}')
    run = make_run(tmp_path / "runs", model__path=str(base))
    prepare(run)
    with run.produce("train") as work:
        shutil.copytree(tiny_adapter, work.folder, dirs_exist_ok=True)
    merge.merge(run)
    merged = json.loads((run.output("merge") / "generation_config.json").read_text())
    assert merged == {"temperature": 0.9, "top_p": 0.6, "do_sample": True}


@pytest.mark.parametrize(("gib", "device"), [(1.0, "cuda"), (1e-4, "cpu")])
def test_a_model_that_is_too_large_for_the_card_is_compared_on_the_cpu(
    gib: float, device: str, run: Run, tiny_model: Path
) -> None:
    run.recipe.hardware.device, run.recipe.hardware.memory_gib = "cuda", gib
    assert merge._device(run, tiny_model) == device


def test_nan_in_a_later_row() -> None:
    """``max`` of a list hides a NaN that does not come first."""
    rows = [torch.zeros(2), torch.tensor([0.0, math.nan])]
    assert math.isnan(merge._distance([torch.zeros(2)] * 2, rows))
