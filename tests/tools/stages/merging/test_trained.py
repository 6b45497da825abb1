"""A model that was trained whole: its weights under the base's names, in the base's types."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from tests.tools.stages import bases
from tests.tools.stages.merging.test_whole import merge, tokenizer
from tools.errors import StageError, UserError


def train(base: Path, folder: Path, rows: int = 0, **options: Any) -> Path:
    """As Axolotl saves it: every weight moved, by transformers' own rules."""
    torch.manual_seed(3)
    net = AutoModelForCausalLM.from_pretrained(base, **options)
    if rows:
        net.resize_token_embeddings(rows)
    for weight in net.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    net.save_pretrained(folder, max_shard_size="60KB")
    return folder


def logits(folder: Path) -> Any:
    with torch.inference_mode():
        ids = torch.tensor([[5, 250, 17, 99]])
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits


@pytest.mark.parametrize("name", ["gpt2", "pythia", "opt", "smollm2"])
def test_names_and_types_are_the_bases(name: str, tmp_path: Path) -> None:
    base = bases.write(tmp_path / "base", name, "safetensors")
    trained = train(base, tmp_path / "trained")
    assert len(list(trained.glob("*.safetensors"))) > 1  # transformers parts them as it likes
    merged = merge(base, trained, tmp_path / "merged")
    assert torch.equal(logits(merged), logits(trained))
    assert not torch.allclose(logits(merged), logits(base), atol=0.01)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (merged, base))
    assert ours.keys() == theirs.keys()
    assert all(ours[key].shape == one.shape for key, one in theirs.items())
    # Masks, which no training moves, stay as they were.
    assert "h.0.attn.bias" not in theirs or torch.equal(
        ours["h.0.attn.bias"], theirs["h.0.attn.bias"]
    )


def test_a_base_of_half_precision_stays_one(tmp_path: Path) -> None:
    base = bases.write(tmp_path / "base", "llama", "shards", torch.bfloat16)
    trained = train(base, tmp_path / "trained", dtype=torch.float32)
    merged = merge(base, trained, tmp_path / "merged")
    wanted = AutoModelForCausalLM.from_pretrained(trained).state_dict()
    for path in merged.glob("*.safetensors"):
        for key, one in load_file(path).items():
            assert one.dtype == torch.bfloat16 and torch.equal(one, wanted[key].bfloat16())


def test_taken_twice_it_is_the_same(tmp_path: Path) -> None:
    base = bases.write(tmp_path / "base", "llama", "safetensors")
    trained = train(base, tmp_path / "trained")
    once = merge(base, trained, tmp_path / "once")
    assert torch.equal(logits(merge(once, trained, tmp_path / "twice")), logits(trained))


@pytest.mark.parametrize("name", ["llama", "smollm2"])
def test_more_tokens(name: str, tmp_path: Path) -> None:
    base = bases.write(tmp_path / "base", name, "safetensors")
    tokenizer(300).save_pretrained(base)
    trained = train(base, tmp_path / "trained", rows=302)
    tokenizer(302).save_pretrained(trained)
    merged = merge(base, trained, tmp_path / "merged")
    assert json.loads((merged / "config.json").read_text())["vocab_size"] == 302
    assert "t301" in (merged / "tokenizer.json").read_text()
    assert torch.equal(logits(merged), logits(trained))


def mixtral(folder: Path) -> Path:
    config = AutoConfig.for_model(
        "mixtral", vocab_size=300, hidden_size=64, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=2, bos_token_id=1,
        eos_token_id=1,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def test_experts(tmp_path: Path) -> None:
    """They lie in a tensor each, and are one weight of transformers'."""
    base = mixtral(tmp_path / "base")
    trained = train(base, tmp_path / "trained")
    merged = merge(base, trained, tmp_path / "merged")
    assert torch.equal(logits(merged), logits(trained))


def test_experts_that_are_not_there(tmp_path: Path) -> None:
    base = mixtral(tmp_path / "base")
    trained = train(base, tmp_path / "trained")
    for path in trained.glob("*.safetensors"):
        tensors = load_file(path)
        renamed = {key.replace("experts.", "others."): one for key, one in tensors.items()}
        save_file(renamed, path, {"format": "pt"})
    index = trained / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("experts.", "others."))
    with pytest.raises(StageError, match=r"experts.*|hold no model\.layers\.0"):
        merge(base, trained, tmp_path / "merged")


def test_another_base(tmp_path: Path) -> None:
    base = bases.write(tmp_path / "base", "llama", "safetensors")
    deep = bases.Family("llama", {**bases.FAMILIES["llama"].config, "num_hidden_layers": 3}, [], "")
    config, files = bases.weights(deep)
    other = tmp_path / "other"
    config.save_pretrained(other)
    save_file(files, other / "model.safetensors", metadata={"format": "pt"})
    trained = train(base, tmp_path / "trained")
    with pytest.raises(StageError, match=r"trained's files hold no model\.layers\.2\."):
        merge(other, trained, tmp_path / "merged")


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    base = bases.write(tmp_path / "base", "llama", "safetensors")
    trained = train(base, tmp_path / "trained")
    path = max(trained.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=f"{path.name} is cut off"):
        merge(base, trained, tmp_path / "merged")
