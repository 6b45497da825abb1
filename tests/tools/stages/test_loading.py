"""Packed as it is read: the bytes of the whole model; unpacked by layer: the same logits."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, modeling_utils

from tests import kin
from tests.tiny import make_run, save_adapter
from tests.tools.stages import bases
from tools.base_model.architecture import of_folder
from tools.stages import loading, merge, quantize
from tools.stages.four_bits import packed
from tools.stages.loading import unpacking

PACKED = {
    "nf4": BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    ),
    "int8": BitsAndBytesConfig(load_in_8bit=True),
}


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.suffix in (".safetensors", ".json")
    }


def logits(net: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = net(torch.tensor([[5, 6, 7, 8]])).logits
    return found


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_files_are_those_of_the_whole_model(
    name: str, family: str, tiny_model: Path, tmp_path: Path
) -> None:
    base = tiny_model  # the others have no tokenizer, which GPT-2's can do without
    if family == "gpt2":
        base = bases.write(tmp_path / "base", family, "safetensors")
    run = make_run(tmp_path, quantize__format=name)
    quantize._by_bitsandbytes(run, base, tmp_path / "streamed")
    whole = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, quantization_config=PACKED[name], device_map="cpu"
    )
    whole.save_pretrained(tmp_path / "whole")
    found, wanted = digests(tmp_path / "streamed"), digests(tmp_path / "whole")
    assert {key: found[key] for key in wanted} == wanted and "model.safetensors" in wanted


def test_no_file_is_mapped(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = modeling_utils.safe_open, []

    def open_file(*args: Any, **options: Any) -> Any:
        seen.append(options["backend"])
        return real(*args, **options)

    monkeypatch.setattr("safetensors.safe_open", open_file)
    with loading.unmapped():
        AutoModelForCausalLM.from_pretrained(tiny_model)
    assert seen == ["pread"]
    assert modeling_utils.safe_open is real  # as it was, for everybody else


@pytest.mark.parametrize("name", PACKED)
def test_unpacked_by_layer_it_computes_the_same(
    name: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantize._by_bitsandbytes(make_run(tmp_path, quantize__format=name), tiny_model, tmp_path / "q")
    whole = loading.load(tmp_path / "q", "cpu")
    monkeypatch.setattr(loading, "SMALL", 0)
    by_layer = loading.load(tmp_path / "q", "cpu")
    assert any(isinstance(one, unpacking.Unpacking) for one in by_layer.modules())
    assert not any(isinstance(one, unpacking.Unpacking) for one in whole.modules())
    assert not packed(by_layer)
    assert torch.equal(logits(by_layer), logits(whole))


def test_what_is_counted_as_unpacked(tiny_model: Path) -> None:
    net = AutoModelForCausalLM.from_pretrained(
        tiny_model, dtype=torch.float32, quantization_config=PACKED["nf4"], device_map="cpu"
    )
    layers = [one for one in net.modules() if isinstance(one, unpacking.PACKED)]
    assert unpacking.whole_size(net) == 4 * sum(
        one.in_features * one.out_features for one in layers
    )
    assert layers


def test_an_adapter_is_proven_on_it(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEFT takes the layers for plain ones: the same logits as on the model unpacked at once."""
    from peft import PeftModel

    run = make_run(tmp_path, train={"adapter": "qlora"}, merge__method="nf4_aware")
    adapter = save_adapter(tiny_model, tmp_path / "adapter")
    found = []
    for small in (loading.SMALL, 0):
        monkeypatch.setattr(loading, "SMALL", small)
        net = merge.loaded(run, tiny_model, merge.how_trained(run, tiny_model, adapter))
        found.append(logits(PeftModel.from_pretrained(net, adapter).eval()))
    assert torch.equal(*found)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "pythia", "falcon"])
@pytest.mark.parametrize("file", [torch.bfloat16, torch.float32])
def test_a_narrow_files_model_computes_as_one_that_is_loaded_wide(
    family: str, file: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = bases.write(tmp_path / "base", family, "safetensors")
    folder = tmp_path / "narrow"
    AutoModelForCausalLM.from_pretrained(base, dtype=file).save_pretrained(folder)
    wanted = logits(loading.widened(folder, torch.float32, "cpu").eval())
    monkeypatch.setattr(loading, "SMALL", 0)
    net = loading.widened(folder, torch.float32, "cpu").eval()
    assert torch.equal(logits(net), wanted) and wanted.dtype == torch.float32
    kept = {one.dtype for one in net.parameters() if one.dim() == 2}
    assert file in kept


@pytest.mark.parametrize("family", ["t5", "bart", "bert", "albert"])
def test_so_do_models_with_an_encoder(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = kin.folder(family, tmp_path / family)
    kind = of_folder(folder).loader()
    kind.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    asked: dict[str, Any] = {"input_ids": torch.tensor([[5, 6, 7, 8]])}
    if family in kin.SEQ2SEQ:
        asked["labels"] = torch.tensor([[9, 10]])
    with torch.inference_mode():
        wanted = loading.widened(folder, torch.float32, "cpu").eval()(**asked).logits
        monkeypatch.setattr(loading, "SMALL", 0)
        found = loading.widened(folder, torch.float32, "cpu").eval()(**asked).logits
    assert torch.equal(found, wanted)
