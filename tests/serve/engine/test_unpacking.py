"""What llm-compressor makes, loaded by the worker: plain layers of the very same numbers."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from serve.config import ServeConfig
from serve.engine import build_engine, unpacking
from serve.engine.loading import load_model
from tests.serve.conftest import _start_server, byte_level_tokenizer, save_model

SCHEMES = ["W4A16", "W8A16", "W8A8", "FP8_DYNAMIC"]


def rounded_to_nearest(folder: Path, scheme: str) -> Path:
    """A tiny model as llm-compressor writes it, by compressed-tensors alone."""
    from compressed_tensors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationConfig,
        apply_quantization_config,
        preset_name_to_scheme,
    )
    from compressed_tensors.quantization.utils import calculate_qparams

    base = save_model(folder / "base", byte_level_tokenizer(), hidden_size=128)
    net = AutoModelForCausalLM.from_pretrained(base)
    groups = {"group_0": preset_name_to_scheme(scheme, ["Linear"])}
    apply_quantization_config(net, QuantizationConfig(config_groups=groups, ignore=["lm_head"]))
    for module in net.modules():
        if hasattr(module, "quantization_scheme"):
            args = module.quantization_scheme.weights
            rows = module.weight
            if args.group_size:
                rows = rows.unflatten(-1, (-1, args.group_size))
            low, high = rows.aminmax(dim=-1, keepdim=not args.group_size)
            scale, _ = calculate_qparams(low, high, args)
            module.weight_scale.data.copy_(scale)
    compressor = ModelCompressor.from_pretrained_model(net)
    with unpacking.without_bars():
        compressor.compress_model(net)
    made = folder / "made"
    net.save_pretrained(made)
    compressor.update_config(str(made))
    byte_level_tokenizer().save_pretrained(made)
    return made


@pytest.fixture(scope="module", params=SCHEMES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rounded_to_nearest(tmp_path_factory.mktemp("made"), request.param)


def test_layers_become_plain_ones(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_model(made, ServeConfig(), "cpu")
    assert loaded.info.quantization == "compressed-tensors"
    whole = load_model(made.parent / "base", ServeConfig(), "cpu").model
    for (name, one), (_, other) in zip(
        loaded.model.named_parameters(), whole.named_parameters(), strict=True
    ):
        assert one.dtype == torch.float32 and one.shape == other.shape
        inner = "_proj" in name
        assert torch.equal(one, other) != inner, name
        assert (one - other).abs().max() <= 0.15 * other.abs().max()
    linear = [one for one in loaded.model.modules() if isinstance(one, nn.Linear)]
    assert {type(one) for one in linear} == {nn.Linear}
    assert not any("forward" in vars(one) for one in linear), "nothing is wrapped"
    told = capsys.readouterr().err
    assert "Applying" not in told and "ompressing" not in told, "a bar"


def test_the_numbers_are_those_of_transformers(made: Path) -> None:
    """But for the activations, which are rounded there and computed whole here."""
    ours = load_model(made, ServeConfig(), "cpu").model
    theirs = AutoModelForCausalLM.from_pretrained(made)
    ids = torch.tensor([[5, 9, 3, 200, 17]])
    with torch.inference_mode():
        one, other = ours(ids).logits, theirs(ids).logits
    rounds = json.loads((made / "config.json").read_text())["quantization_config"]
    exact = rounds["config_groups"]["group_0"]["input_activations"] is None
    assert (one - other).norm() / other.norm() < (1e-5 if exact else 0.3)


def test_the_worker_batches(made: Path) -> None:
    """Its self-check passes: none of the slower engines stands in."""
    engine = build_engine(made, ServeConfig(context=64), "cpu")
    try:
        assert engine.info.engine == "transformers"
        assert engine.info.quantization == "compressed-tensors"
    finally:
        engine.close()


def test_a_server_answers_by_the_contract(tmp_path: Path) -> None:
    folder = rounded_to_nearest(tmp_path, "W4A16")
    with _start_server(folder, tmp_path / "log", "--device", "cpu") as server:
        server.wait_ready(300)
        answer = server.post("/process", {"prompt": "The capital", "max_new_tokens": 4})
    assert answer.status_code == 200 and len(answer.json()["tokens"]) <= 4
    told = (tmp_path / "log").read_text()
    assert "Applying" not in told and "ompressing" not in told, "a bar in the log"


def test_a_model_of_whole_weights_is_left_as_it_is(tmp_path: Path) -> None:
    base = save_model(tmp_path, byte_level_tokenizer())
    net = AutoModelForCausalLM.from_pretrained(base)
    assert unpacking.method_of(net) == "none" and unpacking.unpack(net) is net


def test_bars_come_back() -> None:
    from tqdm import tqdm

    with unpacking.without_bars():
        assert tqdm(range(1)).disable and tqdm(range(1), disable=False).disable
    assert not tqdm(range(0), mininterval=99).disable
