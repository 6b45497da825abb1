"""The size of the KV cache."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from serve.config import ServeConfig
from serve.engine import memory
from serve.engine.base import ModelInfo
from serve.engine.keeping import Bounds

INFO = ModelInfo("m", "transformers", "cpu", "float32", "none", 1, context=100)


def loaded(device: str = "cpu") -> Any:
    return SimpleNamespace(info=replace(INFO, device=device))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_batch": 8}, (8, 100)),
        ({"max_batch": 8, "cache_tokens": 350}, (3, 100)),
        ({"max_batch": 2, "cache_tokens": 350}, (2, 100)),
        ({"max_batch": 8, "cache_tokens": 60}, (1, 60)),
    ],
)
def test_slots(
    settings: dict[str, int], expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**9)
    assert memory.slots(loaded(), 10, ServeConfig(**settings)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("device", "count"), [("cpu", 2), ("cuda:0", 6)])
def test_short_memory_means_fewer_slots_and_says_so(
    device: str, count: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10_000)
    assert memory.slots(loaded(device), 10, ServeConfig(max_batch=32)) == (count, 100)
    assert "memory is short" in caplog.text


def test_on_a_cpu_what_is_kept_gives_way() -> None:
    """All that was asked for may be used; else a part of what all slots would take."""
    assert memory.bounds(loaded(), 10, 900, ServeConfig()) == Bounds(900, 180, by_need=True)
    asked = ServeConfig(cache_tokens=950)
    assert memory.bounds(loaded(), 10, 900, asked) == Bounds(900, 900, by_need=True)


@pytest.mark.parametrize(("free", "kept"), [(10**9, 900), (13_000, 75), (10_000, 0)])
def test_on_a_card_it_has_what_the_slots_leave(
    free: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    assert memory.bounds(loaded("cuda:0"), 10, 900, ServeConfig()) == Bounds(
        900, kept, by_need=False
    )


def test_free_memory_of_this_machine() -> None:
    assert 10**7 < memory.free_bytes("cpu") < 10**14
