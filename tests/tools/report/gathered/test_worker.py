"""How fast the worker answered."""

import datetime
import json
from typing import Any

import pytest

from tools.report.gathered.source import Missing, Source
from tools.report.gathered.worker import busy, figures, worker
from tools.run.folder import Run, write_json


def line(at: float, seconds: float, message: str = "answered") -> str:
    time = datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="milliseconds")
    found: dict[str, Any] = {"time": time.replace("+00:00", "Z"), "message": message}
    return json.dumps(found | {"seconds": seconds, "new_tokens": 10, "prompt_tokens": 100})


def log(run: Run, *lines: str) -> None:
    (run.logs / "worker_tuned.log").write_text("\n".join(lines) + "\n")


def finished(run: Run) -> float:
    record = run.record("eval_tuned")
    assert record
    return datetime.datetime.fromisoformat(record["finished"]).timestamp()


def test_only_answers_of_this_evaluation_count(whole: Run) -> None:
    end = finished(whole)
    others = (line(end - 3600, 9.0), line(end + 60, 9.0), line(end, 9.0, "answered late"))
    log(whole, *others, "W1130 torch", line(end, 1.0), line(end, 0.5)[:-9], line(end, 2.0))
    found = worker(Source(whole))["models"]
    assert found["base"] is None and found["tuned"]["answers"] == 2
    assert found["tuned"]["seconds"] == {"median": 1.5, "p95": 2.0, "longest": 2.0}
    assert found["tuned"]["busy_seconds"] == pytest.approx(2, abs=1e-3)
    assert found["tuned"]["new_tokens_per_second"] == pytest.approx(10, rel=1e-3)
    # An evaluation of before there was the figure.
    assert found["tuned"]["resident_gib"] is None and found["tuned"]["card_gib"] is None


def test_memory_is_what_the_evaluation_wrote_down(whole: Run) -> None:
    log(whole, line(finished(whole), 1.0))
    memory = {"resident_bytes": 3 * 2**30, "card_bytes": 0}
    write_json(whole.output("eval_tuned") / "metrics.json", {"rules": {}, "memory": memory})
    found = worker(Source(whole))["models"]["tuned"]
    assert found["resident_gib"] == 3 and found["card_gib"] is None, "0: there is no card"
    write_json(
        whole.output("eval_tuned") / "metrics.json",
        {"rules": {}, "memory": memory | {"card_bytes": 2**29}},
    )
    assert worker(Source(whole))["models"]["tuned"]["card_gib"] == 0.5


def test_without_a_log_nothing_was_measured(whole: Run) -> None:
    with pytest.raises(Missing, match="not measured"):
        worker(Source(whole))
    assert figures([]) is None


@pytest.mark.parametrize(
    "spans, seconds",
    [([], 0), ([(0, 2), (1, 3)], 3), ([(5, 6), (0, 1)], 2), ([(0, 9), (1, 2), (8, 10)], 10)],
)
def test_time_at_work_is_counted_once(spans: list[tuple[float, float]], seconds: float) -> None:
    assert busy(spans) == seconds
