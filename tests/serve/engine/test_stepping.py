"""The self-check notices what it is there for."""

from pathlib import Path
from typing import Any

import pytest

from serve.config import ServeConfig
from serve.engine import attention, stepping
from serve.engine.attention import SlotCache, Unsupported
from serve.engine.loading import LoadedModel, load_model
from serve.engine.stepping import Stepper


@pytest.fixture
def loaded(model_dirs: dict[str, Path]) -> LoadedModel:
    return load_model(model_dirs["byte_level"], ServeConfig(), "cpu")


def check(loaded: LoadedModel, unit: int = 0) -> None:
    samples = stepping.self_check_samples(loaded.model.config.vocab_size)
    expected = stepping.expected_logits(loaded.model, samples)
    stepping.self_check(Stepper(loaded, unit), samples, expected)


@pytest.mark.parametrize("unit", [0, 16, 256])
def test_a_sound_model_passes(loaded: LoadedModel, unit: int) -> None:
    check(loaded, unit)


def test_token_bytes(loaded: LoadedModel) -> None:
    """2 layers, 2 key heads of width 16, key and value, 4 bytes each."""
    assert Stepper(loaded).token_bytes == 2 * 2 * 16 * 2 * 4


def wrong_scale(self: SlotCache, layer: int, *args: Any, window: object, **how: Any) -> Any:
    how["scale"] = (how["scale"] or 1.0) * 1.5
    return original(self, layer, *args, window=window, **how)


original = SlotCache.attend


def test_wrong_scores_are_noticed(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention.SlotCache, "attend", wrong_scale)
    with pytest.raises(Unsupported, match="differ"):
        check(loaded)


def test_nan_is_noticed(loaded: LoadedModel) -> None:
    samples = stepping.self_check_samples(loaded.model.config.vocab_size)
    expected = stepping.expected_logits(loaded.model, samples)
    expected[1] = expected[1] * float("nan")
    with pytest.raises(Unsupported, match="nan"):
        stepping.self_check(Stepper(loaded), samples, expected)
