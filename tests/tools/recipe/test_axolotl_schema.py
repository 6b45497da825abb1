"""The stored schema is the installed Axolotl's, and Axolotl itself takes the shipped recipes."""

import contextlib
import importlib.metadata
import json
import re
from typing import Any

import pytest

from tools.recipe.axolotl_schema import DROPPED, OWNED, STORED, generate, train_schema
from tools.recipe.compose import RECIPES
from tools.recipe.faults import find
from tools.recipe.load import load


def test_stored_is_regenerated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("AXOLOTL_DO_NOT_TRACK", "1")
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert stored["version"] == importlib.metadata.version("axolotl")
    assert json.loads(json.dumps(generate())) == stored, "run: make schema"


def test_size_and_content() -> None:
    schema = train_schema()
    assert STORED.stat().st_size < 250_000
    assert len(schema["properties"]) > 350
    assert not schema["properties"].keys() & DROPPED.keys()
    assert schema["properties"].keys() >= OWNED.keys()
    assert schema["required"] == ["learning_rate"]


def test_what_axolotl_only_refuses_is_no_key() -> None:
    """When this fails, Axolotl takes one of them again, or refuses another."""
    from axolotl.utils.schemas.deprecated import DeprecatedParameters
    from axolotl.utils.schemas.validation import FSDP1_ONLY_IGNORED_KEYS, FSDP1_ONLY_REJECTED_KEYS
    from pydantic import ValidationError

    refused = set()
    for name in DeprecatedParameters.model_fields:
        if name.startswith(("dpo_", "rpo_")):
            continue  # of training on preferences
        for value in (True, 1, "text"):
            with contextlib.suppress(ValidationError):  # of another type
                try:
                    DeprecatedParameters(**{name: value})
                except DeprecationWarning:
                    refused.add(name)
    fsdp = {f"fsdp_config.{key}" for key in (*FSDP1_ONLY_IGNORED_KEYS, *FSDP1_ONLY_REJECTED_KEYS)}
    assert refused | fsdp | {"fsdp"} == DROPPED.keys()


@pytest.mark.parametrize("key", DROPPED)
def test_remedies_of_dropped_keys_name_keys_that_there_are(key: str) -> None:
    schema = train_schema(["axolotl.integrations.liger.LigerPlugin"])
    named = re.findall(r"train\.([\w.]+)", DROPPED[key])
    for path in named:
        *above, last = path.split(".")
        tree: dict[str, Any] = {"learning_rate": 1}
        section = tree
        for part in above:
            section = section.setdefault(part, {})
        section[last] = None
        assert "unknown key" not in str(find(tree, schema))
    assert named or "leave it out" in DROPPED[key]


def test_unknown_keys_at_any_depth() -> None:
    train: dict[str, Any] = {
        "learning_rate": 1e-4,
        "datasets": [{"path": "x", "type": "alpaca"}, {"path": "x", "tpye": "alpaca"}],
        "fsdp_config": {"version": 2, "offload_param": True},
    }
    found = find(train, train_schema())
    assert {path: text for path, (text, _) in found.items()} == {
        ("datasets", 1, "tpye"): "unknown key; did you mean datasets[1].type?",
        ("fsdp_config", "offload_param"): "unknown key; did you mean fsdp_config.offload_params?",
    }


def test_both_names_of_aliased_keys_are_known() -> None:
    train = {"learning_rate": 1, "model_kwargs": {"a": 1}, "overrides_of_model_kwargs": {"a": 1}}
    assert find(train, train_schema()) == {}


def test_plugins_add_their_keys_only_when_listed() -> None:
    liger = {"learning_rate": 1, "liger_rope": True}
    assert ("liger_rope",) in find(liger, train_schema())
    assert find(liger, train_schema(["axolotl.integrations.liger.LigerPlugin"])) == {}


CARDS = {
    "4090": {"bf16": True, "tf32": True, "fp8": True, "compute_capability": "sm_89", "n_gpu": 1},
    "a100": {"bf16": True, "tf32": True, "fp8": False, "compute_capability": "sm_80", "n_gpu": 1},
    "cpu": {"bf16": False, "tf32": False, "fp8": False, "compute_capability": None, "n_gpu": 0},
}


@pytest.mark.parametrize("name", CARDS)
def test_axolotl_takes_the_shipped_recipes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("AXOLOTL_DO_NOT_TRACK", "1")
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    recipe = load(RECIPES / f"{name}.yaml").recipe
    rows = {"ds_type": "json", "type": "input_output"}
    filled = {
        "base_model": recipe.model.id,
        "datasets": [{"path": "train.jsonl", **rows}],
        "test_datasets": [{"path": "validation.jsonl", "split": "train", **rows}],
        "dataset_prepared_path": "prepared",
        "output_dir": "adapter",
        "special_tokens": {"eos_token": recipe.model.eos, "pad_token": recipe.model.pad},
        **recipe.train,
    }
    environment = {"torch_version": importlib.metadata.version("torch").split("+")[0]}
    checked = validate_config(
        DictDefault(filled), capabilities=CARDS[name], env_capabilities=environment
    )
    # What went in came out: nothing dropped, nothing switched off.
    assert {key: checked[key] for key in recipe.train} == recipe.train
