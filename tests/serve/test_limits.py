"""Every number of the settings has a bound, and each is told."""

import dataclasses

import pytest

from serve.config import ServeConfig
from serve.limits import faults

WRONG = {
    "port": 80,
    "context": 1,
    "max_batch": 0,
    "cache_tokens": -1,
    "prefill_tokens": 15,
    "max_queue": 0,
    "max_body": 999,
    "body_s": 0.0,
    "deadline_s": 0.0,
    "drain_s": -0.5,
    "threads": -1,
}


def test_defaults_are_right() -> None:
    assert faults(ServeConfig()) == []


def test_every_number_has_a_bound() -> None:
    numbers = {f.name for f in dataclasses.fields(ServeConfig) if type(f.default) in (int, float)}
    assert numbers == set(WRONG)


@pytest.mark.parametrize(("key", "value"), WRONG.items())
def test_bounds(key: str, value: float) -> None:
    [(told, text)] = faults(dataclasses.replace(ServeConfig(), **{key: value}))  # type: ignore[arg-type]
    assert told == key
    assert text.startswith("must be ") and text.endswith(f", not {value}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", 1024),
        ("port", 65535),
        ("context", 2),
        ("max_batch", 1),
        ("prefill_tokens", 16),
        ("max_queue", 1),
        ("max_body", 1000),
        ("deadline_s", 0.1),
        ("drain_s", 0.0),
    ],
)
def test_bounds_are_allowed(key: str, value: float) -> None:
    assert faults(dataclasses.replace(ServeConfig(), **{key: value})) == []  # type: ignore[arg-type]


def test_all_at_once() -> None:
    found = faults(dataclasses.replace(ServeConfig(), **WRONG))  # type: ignore[arg-type]
    assert [key for key, _ in found] == list(WRONG)
