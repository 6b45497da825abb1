"""The queue and the thread of engines that answer one request at a time, without a model."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
import torch

from serve.engine.answer import Answer
from serve.engine.base import EngineError, GenRequest, ModelInfo
from serve.engine.loading import LoadedModel
from serve.engine.sampling import Score
from serve.engine.serial import FAILURES, Job, Serial
from serve.text import TextCodec


class Embedding(torch.nn.Module):
    """All that the queue asks of a model."""

    def get_input_embeddings(self) -> Any:
        return torch.nn.Embedding(10, 1)


class Scripted(Serial):
    """Answers with the seed as its only token; a request may hold it up or make it fail."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.held, self.order = threading.Event(), list[str]()
        super().__init__(loaded)

    def _generate(self, job: Job, answer: Answer) -> None:
        self.order.append(job.request.id)
        job.check()
        if job.request.id == "hold":
            self.held.wait(10)
        if job.request.id.startswith("late"):
            self.progressed(steps=1)
        if job.request.id.endswith("fail"):
            raise MemoryError
        self.progressed(steps=1)
        answer.add(3, Score(-1.0, ()))


@pytest.fixture
def engine(codecs: dict[str, TextCodec]) -> Iterator[Scripted]:
    info = ModelInfo("m", "scripted", "cpu", "float32", "none", 1, context=100)
    loaded = LoadedModel(Embedding(), codecs["byte_level"], frozenset(), info)
    built = Scripted(loaded)
    yield built
    built.held.set()
    built.close()


def request(name: str) -> GenRequest:
    return GenRequest(name, (1, 2), max_new_tokens=1)


def test_requests_are_answered_in_order(engine: Scripted) -> None:
    futures = [engine.submit(request(name)) for name in ("hold", "b", "c")]
    engine.cancel("b")
    assert engine.stats().waiting in (1, 2)  # the first may not have begun yet
    engine.held.set()
    assert [future.result(10).finish_reason for future in (futures[0], futures[2])] == [
        "length"
    ] * 2
    with pytest.raises(CancelledError):
        futures[1].result(10)
    assert engine.order == ["hold", "c"]
    assert engine.stats().prompt_tokens == 4


def test_the_heartbeat_shows_a_request_that_hangs(engine: Scripted) -> None:
    assert engine.heartbeat() == 0.0
    hung = engine.submit(request("hold"))
    time.sleep(0.2)
    assert 0.1 < engine.heartbeat() < 10
    engine.held.set()
    hung.result(10)


def test_an_engine_that_fails_thrice_in_a_row_is_dead(engine: Scripted) -> None:
    """What waits then is refused, too, so that the process can be started anew."""
    held = engine.submit(request("hold"))
    failing = [engine.submit(request(f"{place} fail")) for place in range(FAILURES)]
    waiting = engine.submit(request("waiting"))
    assert engine.heartbeat() < 10
    engine.held.set()
    held.result(10)
    for future in failing:
        with pytest.raises(EngineError, match="MemoryError"):
            future.result(10)
    assert engine.heartbeat() == float("inf")
    for future in (waiting, engine.submit(request("after"))):
        with pytest.raises(EngineError, match="dead: 3 forward passes failed in a row"):
            future.result(10)


def test_failures_with_a_good_pass_between_are_not_in_a_row(engine: Scripted) -> None:
    for name in ["fail", "fail", "fine", "fail", "fail", "late fail", "fail"]:
        future = engine.submit(request(name))
        assert future.exception(10) is None or name.endswith("fail")
    assert engine.submit(request("fine")).result(10).finish_reason == "length"


def test_close_refuses_and_cancels(engine: Scripted, tmp_path: Path) -> None:
    engine.submit(request("hold"))
    waiting = engine.submit(request("waiting"))
    closer = threading.Thread(target=engine.close)
    closer.start()
    with pytest.raises(CancelledError):
        waiting.result(10)
    engine.held.set()
    closer.join(10)
    assert not closer.is_alive()
    assert engine.heartbeat() == float("inf")
    with pytest.raises(EngineError, match="closed"):
        engine.submit(request("after")).result(10)
