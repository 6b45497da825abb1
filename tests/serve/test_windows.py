"""What a folder says of how much it reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from serve.windows import reads_whole, window
from tests import kin
from tools.recipe.kinds import kind_of


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 0}, 513),
        ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
        ({"model_type": "bart", "max_position_embeddings": 1024, "pad_token_id": 1}, 1024),
        ({"model_type": "t5", "n_positions": 512}, None),
        ({"model_type": "umt5", "n_positions": 512}, None),
        ({"model_type": "gpt2", "n_positions": 1024}, 1024),
        ({"model_type": "mpt", "max_seq_len": 2048}, 2048),
        ({"model_type": "bloom"}, None),
        ({}, None),
    ],
)
def test_window(config: dict[str, Any], tokens: int | None) -> None:
    assert window(config) == tokens


@pytest.mark.parametrize("family", kin.FAMILIES)
def test_each_family_runs_at_its_window_and_no_further(family: str) -> None:
    """The figure is the model's own: one token more is an error in it, not a slow answer."""
    import torch

    network = kin.network(family, 320)
    most = window(network.config.to_dict())
    if family.startswith("deberta-v2") or most is None:
        most = most or 2048  # distances only: it runs at any length
    names = ("input_ids", "decoder_input_ids")[: 2 if family in kin.SEQ2SEQ else 1]

    def run(length: int) -> None:
        ids = torch.full((1, length), 5)
        with torch.inference_mode():
            network(**{name: ids if name == "input_ids" else ids[:, :1] for name in names})

    run(most)
    if family in kin.SEQ2SEQ[:3] or family == "deberta-v2":
        return
    with pytest.raises((IndexError, RuntimeError)):
        run(most + 1)


@pytest.mark.parametrize("family", kin.FAMILIES)
def test_who_reads_a_prompt_as_a_whole(family: str, tmp_path: Path) -> None:
    network = kin.network(family, 320)
    network.config.save_pretrained(tmp_path)
    assert reads_whole(tmp_path)
    assert kind_of(network.config.model_type).name != "causal", "tools and serve agree"


def test_causal_models_and_unknown_folders_do_not(tmp_path: Path) -> None:
    assert not reads_whole(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert not reads_whole(tmp_path)
