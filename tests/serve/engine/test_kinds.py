"""Which kind a folder is, its window, and what is refused for it."""

import json
from pathlib import Path

import pytest

from serve import windows
from serve.config import ServeConfig
from serve.engine.kinds import CAUSAL, ENCODER, SEQ2SEQ, check_engine, kind_of
from serve.startup import StartError
from tools.recipe import kinds as recipes


def folder(path: Path, text: str) -> Path:
    (path / "config.json").write_text(text)
    return path


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [("t5", SEQ2SEQ), ("bart", SEQ2SEQ), ("deberta-v2", ENCODER), ("llama", CAUSAL), ("", CAUSAL)],
)
def test_kind_of_a_folder(tmp_path: Path, model_type: str, kind: object) -> None:
    assert kind_of(folder(tmp_path, json.dumps({"model_type": model_type}))) is kind


def test_kinds_are_those_of_recipes(tmp_path: Path) -> None:
    """serve/ knows nothing but itself, so the two records are held against each other here."""
    for model_type in (*windows.SEQ2SEQ, *windows.ENCODERS, "llama", "gpt2", "bloom"):
        served = kind_of(folder(tmp_path, json.dumps({"model_type": model_type})))
        trained = recipes.kind_of(model_type)
        assert (served.name, served.auto_class) == (trained.name, trained.auto_class)


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_settings_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    with pytest.raises(StartError, match=r"config\.json: cannot be read as a model's settings"):
        kind_of(folder(tmp_path, text))


def test_what_has_no_meaning_for_a_kind(tmp_path: Path) -> None:
    """All of it at once."""
    config = ServeConfig(engine="vllm", adapters={"math": str(tmp_path)})
    check_engine(CAUSAL, config)
    check_engine(SEQ2SEQ, ServeConfig())
    with pytest.raises(StartError) as caught:
        check_engine(ENCODER, config)
    assert caught.value.faults == (
        "serve.engine: vllm does not answer with an encoder that fills masks; set serve.engine to"
        " transformers",
        "serve.adapters: none can answer beside an encoder that fills masks; merge the adapter"
        " into the model and serve that",
    )
