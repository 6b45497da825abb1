"""What is measured, and its Prometheus text.

The HTTP process counts requests; what the engine does is asked of the worker at each scrape, so
that /metrics answers also while there is no worker.
"""

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from serve.state import State

#: Upper bounds of the request times, seconds: from a /tokenize to the deadline of a long answer.
BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

#: Routes that get a label of their own; a scan for others must not make thousands.
ROUTES = (
    *("/process", "/tokenize", "/decode", "/health", "/metrics", "/openapi.json"),
    *("/v1/completions", "/v1/chat/completions", "/v1/models"),
)

#: ``serve.engine.base.EngineStats`` as gauges and as counters.
ENGINE_GAUGES = {
    "running": "Completions being generated together.",
    "waiting": "Completions that wait for room in the batch.",
    "cache_tokens": "Size of the KV cache in tokens.",
    "kept_tokens": "Tokens kept for prompts that begin alike.",
}
ENGINE_COUNTERS = {
    "steps": "Forward passes.",
    "prompt_tokens": "Prompt tokens of the completions begun.",
    "reused_tokens": "Of them, those whose keys and values were there already.",
    "new_tokens": "Tokens generated.",
    "prefix_hits": "Completions that reused some.",
}

#: What ensembles cost (``serve.ensemble.Cost``), as counters.
ENSEMBLE_COUNTERS = {
    "requests": "Completions that an ensemble made and did not give.",
    "prompt_tokens": "Prompt tokens of these.",
    "new_tokens": "Tokens generated of these.",
}

#: Seconds over which ``oneday_tokens_per_second`` is taken.
RATE_WINDOW_S = 10.0

prometheus_client.disable_created_metrics()  # a second line per counter that nobody reads


class TokenRate:
    """Tokens per second over the recent past.

    Args:
        window_s: how far back it looks.
    """

    def __init__(self, window_s: float = RATE_WINDOW_S) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, total: int) -> float:
        """Takes note of the tokens generated so far; returns the rate since the window's start."""
        now = time.monotonic()
        self._seen.append((now, total))
        # One look from before the window stays, so that the rate is over all of it.
        while len(self._seen) > 2 and now - self._seen[1][0] >= self._window_s:
            self._seen.popleft()
        then, before = self._seen[0]
        return (total - before) / (now - then) if now > then else 0.0


def resident_bytes() -> int:
    """Memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])  # proc(5): the 2nd is "resident"
    return pages * os.sysconf("SC_PAGE_SIZE")


def resident_peak_bytes() -> int:
    """Most memory that this process has held, as the kernel tells it; 0 where it does not."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):  # proc(5): "high water mark", in kB
            return int(line.split()[1]) * 1024
    return 0  # some sandboxes' kernels (gVisor) have no such line


def gpu_peak_bytes(device: str) -> int:
    """Most memory that this process has held on the card; 0 on a CPU."""
    if not device.startswith("cuda"):
        return 0
    import torch  # not for the HTTP process, which never asks

    return int(torch.cuda.max_memory_reserved(device))


class Metrics:
    """The HTTP process's counts.

    Args:
        state: shared by the server's processes.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._registry = CollectorRegistry()  # the global one has figures of its own as well
        self._requests = Counter(
            "oneday_requests",
            "Requests answered.",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "oneday_request_seconds",
            "Seconds from a request to its answer.",
            ["route"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._rejections = Counter(
            "oneday_rejections",
            "Requests to generate refused with 503.",
            ["reason"],
            registry=self._registry,
        )
        in_flight = Gauge(
            "oneday_in_flight", "Requests to generate accepted.", registry=self._registry
        )
        in_flight.set_function(lambda: state.in_flight)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Counts one answer."""
        route = path if path in ROUTES else "other"
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def rejected(self, reason: str) -> None:
        """Counts one request that was not accepted."""
        self._rejections.labels(reason).inc()

    def text(self, worker: dict[str, Any] | None) -> bytes:
        """All of it in Prometheus' text format.

        Args:
            worker: the worker's own figures (``serve.worker.Worker.figures``); None: it has none.
        """
        families = [*self._server_families(), *(_worker_families(worker) if worker else ())]
        latest = prometheus_client.generate_latest
        return latest(self._registry) + latest(_Collected(families))

    def _server_families(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "oneday_worker_restarts", "Workers that died.", value=self._state.deaths
        )
        yield GaugeMetricFamily(
            "oneday_ready", "1 when the model is loaded, else 0.", value=self._state.ready
        )


class _Collected(Collector):
    """Families that are there already, for ``generate_latest``."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _worker_families(worker: dict[str, Any]) -> Iterator[Metric]:
    stats = worker["stats"]
    for name, text in ENGINE_GAUGES.items():
        yield GaugeMetricFamily(f"oneday_{name}", text, value=stats[name])
    for name, text in ENGINE_COUNTERS.items():
        yield CounterMetricFamily(f"oneday_{name}", text, value=stats[name])
    yield GaugeMetricFamily(
        "oneday_prefix_hit_rate",
        "Reused tokens by prompt tokens since the worker's start; 0 while there are none.",
        value=stats["reused_tokens"] / max(stats["prompt_tokens"], 1),
    )
    yield GaugeMetricFamily(
        "oneday_tokens_per_second",
        f"Tokens generated per second, over {RATE_WINDOW_S:g} seconds.",
        value=worker["tokens_per_second"],
    )
    yield GaugeMetricFamily(
        "oneday_worker_memory_bytes",
        "Resident memory of the worker process.",
        value=worker["memory_bytes"],
    )
    yield GaugeMetricFamily(
        "oneday_worker_memory_peak_bytes",
        "Most resident memory that the worker process has held; 0 when it is not known.",
        value=worker["memory_peak_bytes"],
    )
    yield GaugeMetricFamily(
        "oneday_gpu_memory_bytes",
        "Most memory that the worker process has held on the card; 0 on a CPU.",
        value=worker["gpu_memory_bytes"],
    )
    hits = CounterMetricFamily(
        "oneday_rule_hits", "What the output rules did.", labels=["rule", "step"]
    )
    for rule, step, count in worker["rule_hits"]:
        hits.add_metric([rule, step], count)
    yield hits
    yield from _ensemble_families(worker["ensembles"])


def _ensemble_families(cost: dict[str, Any]) -> Iterator[Metric]:
    for name, text in ENSEMBLE_COUNTERS.items():
        yield CounterMetricFamily(f"oneday_ensemble_extra_{name}", text, value=cost[name])
    answers = CounterMetricFamily(
        "oneday_ensemble_answers",
        "Whose answer was given; no adapter: the model's own.",
        labels=["rule", "adapter"],
    )
    for rule, adapter, count in cost["answers"]:
        answers.add_metric([rule, adapter], count)
    yield answers
