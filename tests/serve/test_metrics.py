"""The Prometheus text, without a server."""

import dataclasses
import mmap
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve import metrics
from serve.engine.base import EngineStats
from serve.metrics import ENGINE_COUNTERS, ENGINE_GAUGES, Metrics, TokenRate, resident_bytes
from serve.state import shared_state


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Values by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def figures(**stats: int) -> dict[str, Any]:
    return {
        "stats": dataclasses.asdict(EngineStats(**stats)),
        "tokens_per_second": 12.5,
        "memory_bytes": 5000,
        "memory_peak_bytes": 6000,
        "gpu_memory_bytes": 7000,
        "rule_hits": [["choice", "match", 3], ["choice", "cut", 1]],
        "ensembles": {
            "answers": [["choice", "letters", 2], ["choice", "", 1]],
            "requests": 3,
            "prompt_tokens": 40,
            "new_tokens": 5,
        },
    }


def test_every_figure_of_the_engine_is_shown() -> None:
    fields = {field.name for field in dataclasses.fields(EngineStats)}
    assert {*ENGINE_GAUGES, *ENGINE_COUNTERS} == fields


def test_without_a_worker_the_http_side_is_shown() -> None:
    state = shared_state()
    counts = Metrics(state)
    counts.answered("/process", 200, 0.3)
    counts.answered("/process", 503, 0.0)
    counts.answered("/wp-login.php", 404, 0.0)
    counts.answered("/.git", 404, 0.0)
    counts.rejected("full")
    state.in_flight, state.deaths = 4, 2
    seen = samples(counts.text(None))
    assert seen["oneday_requests_total", "/process", "200"] == 1
    assert seen["oneday_requests_total", "other", "404"] == 2
    assert seen["oneday_request_seconds_bucket", "0.25", "/process"] == 1
    assert seen["oneday_request_seconds_bucket", "0.5", "/process"] == 2
    assert seen["oneday_rejections_total", "full"] == 1
    assert seen["oneday_in_flight",] == 4
    assert seen["oneday_worker_restarts_total",] == 2
    assert seen["oneday_ready",] == 0
    assert all(key[0].startswith("oneday_") for key in seen)
    assert ("oneday_running",) not in seen


def test_with_a_worker() -> None:
    stats = {"running": 3, "new_tokens": 99, "prompt_tokens": 40, "reused_tokens": 30}
    seen = samples(Metrics(shared_state()).text(figures(**stats)))
    assert seen["oneday_running",] == 3
    assert seen["oneday_new_tokens_total",] == 99
    assert seen["oneday_prefix_hit_rate",] == 0.75
    assert seen["oneday_tokens_per_second",] == 12.5
    assert seen["oneday_worker_memory_bytes",] == 5000
    assert seen["oneday_worker_memory_peak_bytes",] == 6000
    assert seen["oneday_gpu_memory_bytes",] == 7000
    assert seen["oneday_rule_hits_total", "choice", "match"] == 3
    assert seen["oneday_rule_hits_total", "choice", "cut"] == 1
    assert seen["oneday_ensemble_answers_total", "letters", "choice"] == 2
    assert seen["oneday_ensemble_answers_total", "", "choice"] == 1
    assert seen["oneday_ensemble_extra_requests_total",] == 3
    assert seen["oneday_ensemble_extra_prompt_tokens_total",] == 40
    assert seen["oneday_ensemble_extra_new_tokens_total",] == 5


def test_nothing_asked_is_no_hit() -> None:
    assert samples(Metrics(shared_state()).text(figures()))["oneday_prefix_hit_rate",] == 0


def test_rate_is_that_of_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now)
    rate = TokenRate(window_s=10)
    assert rate.see(1000) == 0, "what was before is not counted"
    for _ in range(20):
        now += 1
        last = rate.see(1000 + int(now - 100) * 50)
    assert last == pytest.approx(50)
    for _ in range(9):
        now += 1
        last = rate.see(2000)
    assert 0 < last < 50
    now += 2
    assert rate.see(2000) == 0, "idle for the whole window"


def test_memory_is_that_of_the_process() -> None:
    before = resident_bytes()
    # Pages of its own: a bytearray may lie in memory that was freed and kept, resident already.
    with mmap.mmap(-1, 50_000_000) as block:
        block[::4096] = b"x" * len(block[::4096])
        assert 45_000_000 < resident_bytes() - before < 60_000_000
