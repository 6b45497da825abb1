"""The tiny folders of the families load as their kind, and nothing of them is missing."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import kin
from tools.day.guard import loss_fault
from tools.recipe.kinds import KINDS, kind_of


@pytest.mark.parametrize("family", kin.FAMILIES)
def test_each_family_loads_whole(family: str, tmp_path: Path) -> None:
    folder = kin.folder(family, tmp_path / family)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = kind_of(config["model_type"])
    assert kind.name == ("seq2seq" if family in kin.SEQ2SEQ else "encoder")
    _, told = kind.loader().from_pretrained(folder, output_loading_info=True)
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))


@pytest.mark.parametrize("family", kin.FAMILIES)
def test_random_weights_guess(family: str) -> None:
    """Their first loss is no sign of broken weights: it is near that of a guess."""
    net = kin.network(family, 320)
    ids = torch.tensor([[2, *range(10, 30), 1]])
    with torch.inference_mode():
        loss = float(net(input_ids=ids, labels=ids).loss)
    assert loss < math.log(320) + 1
    assert not loss_fault(1, {"loss": loss}, 320)


@pytest.mark.parametrize("family", kin.SEQ2SEQ)
def test_whose_head_is_the_embeddings(family: str, tmp_path: Path) -> None:
    """In memory, in the files, and loaded again; config.json says it as its maker does."""
    folder = kin.folder(family, tmp_path / family)
    loaded = kind_of("t5").loader().from_pretrained(folder)
    for net in (kin.network(family, 320), loaded):
        head, read = net.get_output_embeddings().weight, net.get_input_embeddings().weight
        assert torch.equal(head, read) == (family not in kin.OWN_HEAD)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["tie_word_embeddings"] == (family not in kin.OWN_HEAD)
    own = "lm_head.weight" in load_file(folder / "model.safetensors")
    assert own == (family in kin.OWN_HEAD)


def test_kinds_and_their_tables() -> None:
    """transformers has every model type we call by a kind in that kind's table."""
    from transformers.models.auto import modeling_auto

    assert set(KINDS) == {"causal", "seq2seq", "encoder"}
    for kind in KINDS.values():
        table = getattr(modeling_auto, kind.table)
        listed = [name for name in table if kind_of(name) is kind]
        assert listed, kind.name
    assert kind_of("llama").name == kind_of("gpt2").name == "causal"
