"""The tiny folders of the families load as their kind, and nothing of them is missing."""

import json
from pathlib import Path

import pytest

from tests import kin
from tools.recipe.kinds import KINDS, kind_of


@pytest.mark.parametrize("family", kin.FAMILIES)
def test_each_family_loads_whole(family: str, tmp_path: Path) -> None:
    folder = kin.folder(family, tmp_path / family)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = kind_of(config["model_type"])
    assert kind.name == ("seq2seq" if family in kin.SEQ2SEQ else "encoder")
    _, told = kind.loader().from_pretrained(folder, output_loading_info=True)
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_kinds_and_their_tables() -> None:
    """transformers has every model type we call by a kind in that kind's table."""
    from transformers.models.auto import modeling_auto

    assert set(KINDS) == {"causal", "seq2seq", "encoder"}
    for kind in KINDS.values():
        table = getattr(modeling_auto, kind.table)
        listed = [name for name in table if kind_of(name) is kind]
        assert listed, kind.name
    assert kind_of("llama").name == kind_of("gpt2").name == "causal"
