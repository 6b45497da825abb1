"""The layers of each architecture, as transformers builds it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import recipe
from tools.check.rules.targets import _FAMILIES, LAYERS, modules
from tools.recipe.compose import RECIPES
from tools.recipe.kinds import kind_of
from tools.recipe.load import load


@pytest.mark.parametrize("kind", LAYERS)
def test_the_names_are_those_that_transformers_gives(kind: str) -> None:
    assert set().union(*(linear(kind, **form) for form in FORMS.get(kind, [{}]))) == set(
        LAYERS[kind]
    )


#: Architectures of several forms, all of whose layers are listed.
FORMS: dict[str, list[dict[str, Any]]] = {
    "t5": [{"feed_forward_proj": "relu"}, {"feed_forward_proj": "gated-gelu"}],
    "deberta": [{"legacy": False, "relative_attention": True, "pos_att_type": "c2p|p2c"}],
    "deberta-v2": [
        {
            "legacy": False,
            "relative_attention": True,
            "pos_att_type": "c2p|p2c",
            "share_att_key": shared,
        }
        for shared in (False, True)
    ],
    "electra": [{"embedding_size": 64}],
}


def linear(kind: str, **form: Any) -> set[str]:
    import torch
    from transformers import AutoConfig
    from transformers.pytorch_utils import Conv1D

    with torch.device("meta"):  # names are all that is wanted: no memory, no weights
        net = kind_of(kind).loader().from_config(AutoConfig.for_model(kind, **form))
    return {
        name.rpartition(".")[2]
        for name, module in net.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and module is not net.get_output_embeddings()
    }


def test_every_family_has_its_layers() -> None:
    assert set(_FAMILIES.values()) <= LAYERS.keys()


@pytest.mark.parametrize("file", sorted((RECIPES / "models").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_model_that_is_shipped_is_known(file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"defaults: [{RECIPES}/4090, {file.with_suffix('')}]\n")
    found = load(mine).recipe
    assert list(modules(found, {})) == []
    found.train["lora_target_modules"] = ["quack"]
    assert [fault.verdict for fault in modules(found, {})] == ["fail"]


@pytest.mark.parametrize(("config", "verdicts"), [
    ({"model_type": "gpt2"}, ["fail"]),
    ({"model_type": "llama"}, []),
    ({"model_type": "unheard_of"}, []),
    ([], []),
    (None, []),
])  # fmt: skip
def test_a_local_folder_says_what_it_is(config: Any, verdicts: list[str], tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    train = {"lora_target_modules": ["q_proj", "v_proj"]}
    mine = recipe(train=train, model__path=str(tmp_path))
    assert [fault.verdict for fault in modules(mine, {})] == verdicts


def test_the_nearest_name_is_told() -> None:
    mine = load(RECIPES / "4090.yaml", ["train.lora_target_modules=[q_prj]"]).recipe
    (fault,) = modules(mine, {})
    assert "has no layer q_prj; did you mean q_proj?" in fault.message
    assert "its layers are q_proj, k_proj" in fault.remedy
