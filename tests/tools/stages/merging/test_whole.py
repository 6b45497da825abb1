"""Merging folders: what is refused, and what goes with the weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, models
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from tests.tools.stages import bases
from tools.errors import StageError, UserError
from tools.stages.merging import merge_folders


def adapter_of(base: Path, folder: Path, rows: int = 0, seed: int = 1, **options: Any) -> Path:
    """An adapter with drawn matrices; of a base whose embeddings have grown, where rows says so."""
    torch.manual_seed(seed)
    net = AutoModelForCausalLM.from_pretrained(base)
    if rows:
        net.resize_token_embeddings(rows)
    given = {"r": 4, "target_modules": bases.LLAMA_LAYERS, **options}
    net = get_peft_model(net, LoraConfig(init_lora_weights=False, **given))
    net.save_pretrained(folder)
    return folder


def merge(base: Path, adapter: Path, folder: Path) -> Path:
    folder.mkdir()
    merge_folders(base, adapter, folder, None)
    return folder


def tokenizer(tokens: int) -> PreTrainedTokenizerFast:
    vocabulary = {f"t{number}": number for number in range(tokens)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="t0"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="t0", eos_token="t1")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return bases.write(tmp_path / "base", "llama", "shards")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return adapter_of(base, tmp_path / "adapter")


def test_what_goes_with_the_weights(base: Path, adapter: Path, tmp_path: Path) -> None:
    for name in ("chat_template.jinja", "generation_config.json", "tokenizer.model"):
        (base / name).write_text("{}")
    for name in ("consolidated.00.pth", "model.gguf", "pytorch_model.bin"):
        (base / name).touch()  # the unmerged weights in another form
    merged = merge(base, adapter, tmp_path / "merged")
    left = {"consolidated.00.pth", "model.gguf", "pytorch_model.bin"}
    names = {path.name for path in base.iterdir()} - left
    assert {path.name for path in merged.iterdir()} == names
    assert json.loads((merged / "config.json").read_text()) == json.loads(
        (base / "config.json").read_text()
    )
    indexes = [
        json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
        for folder in (base, merged)
    ]
    assert indexes[0] == indexes[1]


def test_merging_twice(base: Path, adapter: Path, tmp_path: Path) -> None:
    merged = merge(base, adapter, tmp_path / "merged")
    with pytest.raises(UserError, match=r"holds the adapter .* already: merging it again"):
        merge(merged, adapter, tmp_path / "again")
    # Another one may follow it.
    second = adapter_of(merged, tmp_path / "second", seed=2)
    both = merge(merged, second, tmp_path / "both")
    for one in (adapter, second):
        with pytest.raises(UserError, match="already"):
            merge(both, one, tmp_path / one.name / "third")


def test_a_base_of_another_width(base: Path, tmp_path: Path) -> None:
    config, files = bases.weights(
        bases.Family("llama", {**bases.FAMILIES["llama"].config, "hidden_size": 32}, [], "")
    )
    (tmp_path / "narrow").mkdir()
    config.save_pretrained(tmp_path / "narrow")
    save_file(files, tmp_path / "narrow" / "model.safetensors")
    adapter = adapter_of(tmp_path / "narrow", tmp_path / "adapter")
    with pytest.raises(UserError) as caught:
        merge(base, adapter, tmp_path / "merged")
    (fault,) = caught.value.faults
    assert "is the adapter of another base (base_model.model." in fault
    assert ", that layer's would be [" in fault and "more)" in fault
    assert f"it was trained on {tmp_path / 'narrow'}: set model.path to that one" in fault


def test_a_base_of_another_family(adapter: Path, tmp_path: Path) -> None:
    other = bases.write(tmp_path / "other", "gpt2", "safetensors")
    with pytest.raises(UserError, match=r"adapter of another base \(Target modules"):
        merge(other, adapter, tmp_path / "merged")


def test_a_base_with_more_layers(base: Path, tmp_path: Path) -> None:
    config, files = bases.weights(
        bases.Family("llama", {**bases.FAMILIES["llama"].config, "num_hidden_layers": 3}, [], "")
    )
    (tmp_path / "deep").mkdir()
    config.save_pretrained(tmp_path / "deep")
    save_file(files, tmp_path / "deep" / "model.safetensors")
    adapter = adapter_of(tmp_path / "deep", tmp_path / "adapter")
    with pytest.raises(StageError, match=r"no place for base_model.* it is the adapter of another"):
        merge(base, adapter, tmp_path / "merged")


def test_a_config_of_another_base(base: Path, adapter: Path, tmp_path: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(StageError, match=r"hold no model\.layers\.2\..*another model's"):
        merge(base, adapter, tmp_path / "merged")
    (base / "config.json").write_text(json.dumps({**config, "vocab_size": 320}))
    with pytest.raises(StageError, match=r"is \[300, 64\], by its config.json it would be \[320"):
        merge(base, adapter, tmp_path / "merged2")


def test_a_quantized_base(base: Path, adapter: Path, tmp_path: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"quantized \(bitsandbytes\): no adapter can be merged"):
        merge(base, adapter, tmp_path / "merged")


def test_a_vocabulary_that_the_embeddings_do_not_have(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    tokenizer(301).save_pretrained(base)
    with pytest.raises(StageError, match=r"has token 300, the merged embeddings have 300 rows"):
        merge(base, adapter, tmp_path / "merged")


def test_an_adapter_of_nan(base: Path, adapter: Path, tmp_path: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors[max(tensors)] *= torch.nan
    save_file(tensors, path)
    with pytest.raises(StageError, match="not finite"):
        merge(base, adapter, tmp_path / "merged")


def test_another_kind_of_adapter(base: Path, adapter: Path, tmp_path: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["layer_replication"] = [[0, 2], [1, 2]]
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(StageError, match="with layer_replication cannot be merged here"):
        merge(base, adapter, tmp_path / "merged")


@pytest.mark.parametrize("name", ["llama", "smollm2", "gpt2", "pythia"])
@pytest.mark.parametrize("whole", [True, False])
def test_more_tokens(whole: bool, name: str, tmp_path: Path) -> None:
    """Rows for new tokens, trained or only saved, and the tokenizer that has them."""
    family = bases.FAMILIES[name]
    base = bases.write(tmp_path / "base", name, "safetensors")
    tokenizer(300).save_pretrained(base)
    options: dict[str, Any] = {"modules_to_save": [family.embedding, "lm_head"]} if whole else {}
    adapter = adapter_of(base, tmp_path / "adapter", 302, target_modules=family.layers, **options)
    grown = tokenizer(300)
    grown.add_tokens([AddedToken("new"), AddedToken("newer")])
    grown.save_pretrained(adapter)
    merged = merge(base, adapter, tmp_path / "merged")
    config = json.loads((merged / "config.json").read_text())
    assert config["vocab_size"] == 302
    assert "newer" in (merged / "tokenizer.json").read_text()
    net = AutoModelForCausalLM.from_pretrained(merged)
    saved = load_file(adapter / "adapter_model.safetensors")
    rows = next(one for key, one in saved.items() if key.endswith(f"{family.embedding}.weight"))
    assert torch.equal(net.get_input_embeddings().weight, rows)
    assert len(net.get_output_embeddings().weight) == 302


def test_disk_names_with_spaces(base: Path, adapter: Path, tmp_path: Path) -> None:
    spaced = tmp_path / "a base"
    shutil.copytree(base, spaced)
    merged = merge(spaced, adapter, tmp_path / "a merged one")
    assert load_file(merged / "model-00001-of-00002.safetensors")
