"""Our attention in a model, and its own one back."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from serve.config import ServeConfig
from serve.engine import stepping
from serve.engine.attention import Unsupported
from serve.engine.installing import install, probe, uninstall
from serve.engine.loading import load_model
from serve.engine.stepping import Stepper
from tests.serve.engine.test_batching import BATCHED, save


def test_probe_finds_the_shape_of_every_layer() -> None:
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
    )
    model = LlamaForCausalLM(config).eval()
    assert probe(model, install(model)) == [(2, 16, 16)] * 3


def test_a_model_without_replaceable_attention() -> None:
    with pytest.raises(Unsupported, match="present form"):
        install(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["llama", "bloom", "falcon", "gptj", "gpt_neo", "mpt", "gemma2"])
def test_uninstall(tmp_path: Path, name: str) -> None:
    loaded = load_model(save(tmp_path, *BATCHED[name]), ServeConfig(), "cpu")
    own = loaded.model.config._attn_implementation
    [expected] = stepping.expected_logits(loaded.model, [[5, 6, 7]])
    Stepper(loaded)
    uninstall(loaded.model, own)
    assert loaded.model.config._attn_implementation == own
    assert torch.equal(stepping.expected_logits(loaded.model, [[5, 6, 7]])[0], expected)
