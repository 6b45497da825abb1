"""An adapter on a skeleton: only its own matrices are in memory, and it knows what it changes."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.tools.stages import bases
from tools.errors import StageError, UserError
from tools.stages.merging.adapter import Adapter
from tools.stages.merging.skeleton import Skeleton


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return bases.write(tmp_path / "base", "gpt2", "safetensors")


def test_a_layer_at_a_time(base: Path, tmp_path: Path) -> None:
    """Each is merged as PEFT merges all of them; nothing of the base stays in memory."""
    torch.manual_seed(2)
    net = AutoModelForCausalLM.from_pretrained(base)
    clean = {name: one.clone() for name, one in net.state_dict().items()}
    config = LoraConfig(r=4, target_modules=["c_attn"], init_lora_weights=False)
    trained = get_peft_model(net, config)
    trained.save_pretrained(tmp_path / "adapter")
    wanted = trained.merge_and_unload().state_dict()
    skeleton = Skeleton(base)
    adapter = Adapter(skeleton, tmp_path / "adapter")
    changed = [name for name in skeleton.weights if adapter.changes(name)]
    assert changed == [f"transformer.h.{layer}.attn.c_attn.weight" for layer in range(2)]
    for name in changed:
        assert torch.allclose(adapter.merged(name, clean[name]), wanted[name], atol=1e-6)
    real = [name for name, one in skeleton.net.named_parameters() if not one.is_meta]
    assert len(real) == 4 and all("lora" in name for name in real)
    # A second time it is the same: nothing of the first is left in the layer.
    assert torch.allclose(adapter.merged(name, clean[name]), wanted[name], atol=1e-6)


def test_frozen_embeddings_that_peft_saves_are_no_change(base: Path, tmp_path: Path) -> None:
    net = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, target_modules=["c_attn", "lm_head"], init_lora_weights=False)
    get_peft_model(net, config).save_pretrained(tmp_path / "adapter")
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert "base_model.model.lm_head.base_layer.weight" in saved
    adapter = Adapter(Skeleton(base), tmp_path / "adapter")
    assert adapter.changes("lm_head.weight") and not adapter.changes("transformer.wte.weight")


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("init_lora_weights", "pissa", "pissa took its start out of the base's weights"),
        ("bias", "all", "with bias all cannot be merged here"),
    ],
)
def test_what_is_more_than_a_difference(
    setting: str, value: str, said: str, base: Path, tmp_path: Path
) -> None:
    """Before PEFT would read the base's weights, which are not there."""
    net = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, target_modules=["c_attn"], init_lora_weights=False)
    get_peft_model(net, config).save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), setting: value}))
    with pytest.raises(StageError, match=said):
        Adapter(Skeleton(base), tmp_path / "adapter")


@pytest.mark.parametrize("kept", [None, 100])
def test_a_file_that_is_gone_or_cut_off(kept: int | None, base: Path, tmp_path: Path) -> None:
    net = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, target_modules=["c_attn"], init_lora_weights=False)
    get_peft_model(net, config).save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    data = path.read_bytes()
    path.unlink()
    if kept:
        path.write_bytes(data[:kept])
    with pytest.raises(UserError, match=r"is missing, cut off or no file .*make train again"):
        Adapter(Skeleton(base), tmp_path / "adapter")
