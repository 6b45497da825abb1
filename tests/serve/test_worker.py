"""The worker's own logic, without a server: LitServe's calls are made by hand."""

import asyncio
import json
import math
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException

from serve.app import ProtocolSpec
from serve.config import ServeConfig
from serve.contract import ProcessRequest, ProcessResponse
from serve.engine.base import EngineError, GenRequest, GenResult, ModelInfo
from serve.engine.hf_dynamic import HfDynamic
from serve.text import TextCodec
from serve.worker import Cancel, Job, Ping, Worker


class FakeEngine:
    """Answers with a prepared outcome; None means never."""

    def __init__(self, text: TextCodec, outcome: GenResult | Exception | None) -> None:
        self.text, self._outcome = text, outcome
        self.info = ModelInfo("fake", "fake", "cpu", "float32", "none", 1, 16)
        self.cancelled: list[str] = []
        self.requests: list[GenRequest] = []
        self.age = 0.0

    def submit(self, request: GenRequest) -> Future[GenResult]:
        self.requests.append(request)
        future: Future[GenResult] = Future()
        if isinstance(self._outcome, Exception):
            future.set_exception(self._outcome)
        elif self._outcome:
            future.set_result(self._outcome)
        return future

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)

    def heartbeat(self) -> float:
        return self.age

    def close(self) -> None: ...


def worker(engine: Any, **config: Any) -> Worker:
    """A worker whose engine is loaded."""
    settings = ServeConfig(**config)
    built = Worker(Path("model"), settings, "cpu", ProtocolSpec(settings.deadline_s))
    built._engine = Future()
    built._engine.set_result(engine)
    return built


def job(prompt: str = "The capital of France is", **fields: Any) -> Job:
    body = ProcessRequest.model_validate({"prompt": prompt, "temperature": 0, **fields})
    return Job("j", body, time.monotonic())


def answer(built: Worker, message: Job) -> dict[str, Any]:
    """The worker's answer, checked against the contract."""
    response = asyncio.run(built.predict(message))
    assert response is not None and response.status_code == 200
    content: dict[str, Any] = json.loads(bytes(response.body))
    ProcessResponse.model_validate(content, extra="forbid")
    parts = [content, *content.get("completions", [])]
    for part in parts:
        assert part["text"] == "".join(token["text"] for token in part["tokens"])
        assert part["logprob"] == pytest.approx(math.fsum(t["logprob"] for t in part["tokens"]))
    return content


@pytest.fixture
def real(engine: HfDynamic) -> Worker:
    """A worker on the tiny model."""
    return worker(engine)


def test_answer_follows_the_contract(real: Worker) -> None:
    content = answer(real, job(max_new_tokens=6, top_k_per_token=5))
    assert len(content["tokens"]) == 6
    assert all(len(token["top_logprob"]) <= 5 for token in content["tokens"])
    assert (content["truncated_tokens"], content["finish_reason"]) == (0, "length")
    assert "completions" not in content


def test_echo_puts_the_prompt_first(real: Worker) -> None:
    prompt = " leading space, <|im_end|> and 😀\n"
    content = answer(real, job(prompt, max_new_tokens=2, echo_prompt=True))
    assert content["text"].startswith(prompt)
    assert content["tokens"][0]["logprob"] == 0.0
    scored = answer(real, job(prompt, max_new_tokens=0, echo_prompt=True))
    assert scored["text"] == prompt
    assert scored["tokens"] == content["tokens"][:-2]


def test_several_completions(real: Worker) -> None:
    sampled = answer(real, job(num_samples=3, temperature=1.0, seed=4, max_new_tokens=12))
    assert len(sampled["completions"]) == 3
    assert sampled["completions"][0]["text"] == sampled["text"]
    assert len({completion["text"] for completion in sampled["completions"]}) > 1
    second = answer(real, job(temperature=1.0, seed=5, max_new_tokens=12))
    assert second["text"] == sampled["completions"][1]["text"]
    greedy = answer(real, job(num_return_sequences=2, max_new_tokens=3))
    assert greedy["completions"][0] == greedy["completions"][1]


def test_overflow(real: Worker, engine: HfDynamic) -> None:
    long = "The capital of France is Paris. " * 100
    content = answer(real, job(long, max_new_tokens=4))
    length = len(engine.text.encode(long))
    assert content["truncated_tokens"] == length + 4 - engine.info.context
    refusing = worker(engine, overflow="error")
    with pytest.raises(HTTPException) as caught:
        asyncio.run(refusing.predict(job(long, max_new_tokens=4)))
    assert caught.value.status_code == 422
    detail: Any = caught.value.detail
    [fault] = detail
    assert fault["loc"] == ["body", "prompt"] and str(length) in fault["msg"]


def test_only_http_exceptions_leave(codecs: dict[str, TextCodec]) -> None:
    """A foreign exception that cannot be pickled would kill the whole server."""

    class Local(Exception): ...

    for outcome in (Local("boom"), EngineError("the model failed")):
        with pytest.raises(HTTPException) as caught:
            asyncio.run(worker(FakeEngine(codecs["byte_level"], outcome)).predict(job()))
        assert caught.value.status_code == 500


def test_deadline_cancels_the_engine(codecs: dict[str, TextCodec]) -> None:
    fake = FakeEngine(codecs["byte_level"], None)
    with pytest.raises(HTTPException) as caught:
        asyncio.run(worker(fake, deadline_s=0.2).predict(job()))
    assert caught.value.status_code == 504
    assert fake.cancelled == ["j-0"]


def test_a_client_that_leaves_cancels_the_engine(codecs: dict[str, TextCodec]) -> None:
    fake = FakeEngine(codecs["byte_level"], None)
    built = worker(fake)

    async def leave() -> None:
        running = asyncio.create_task(built.predict(job()))
        await asyncio.sleep(0.05)
        await built.predict(Cancel("other"))
        assert not running.done()
        await built.predict(Cancel("j"))
        assert await running is None

    asyncio.run(leave())
    assert fake.cancelled == ["j-0"]


def test_a_request_waits_for_the_model_and_its_leaving_does_not_stop_the_load() -> None:
    built = worker(None)
    built._engine = Future()

    async def leave() -> None:
        running = asyncio.create_task(built.predict(job()))
        await asyncio.sleep(0.05)
        await built.predict(Cancel("j"))
        await running

    asyncio.run(leave())
    assert not built._engine.cancelled()


def test_states(codecs: dict[str, TextCodec]) -> None:
    def state(built: Worker) -> dict[str, Any]:
        response = asyncio.run(built.predict(Ping()))
        assert response is not None
        content: dict[str, Any] = json.loads(bytes(response.body))
        return content

    loading = worker(None)
    loading._engine = Future()
    assert state(loading) == {"status": "loading"}
    fake = FakeEngine(codecs["byte_level"], None)
    ready = state(worker(fake))
    assert (ready["status"], ready["model"]["name"]) == ("ready", "fake")
    fake.age = math.inf
    assert state(worker(fake))["status"] == "failed"


def test_bos_tokenizer_gives_the_same_wire(bos_engine: HfDynamic) -> None:
    content = answer(worker(bos_engine), job("The capital", max_new_tokens=0, echo_prompt=True))
    assert content["text"] == "The capital"
    assert len(content["tokens"]) == len(bos_engine.text.encode("The capital"))


def test_request_fields_reach_the_engine(codecs: dict[str, TextCodec]) -> None:
    fake = FakeEngine(codecs["byte_level"], GenResult((), "eos"))
    fields = {
        "temperature": 0.3,
        "top_k": 7,
        "top_p": 0.9,
        "seed": 2**64 - 1,
        "top_k_per_token": 5,
        "echo_prompt": True,
        "stop_sequences": ["\n"],
        "max_new_tokens": 3,
        "num_samples": 2,
    }
    answer(worker(fake), job("x", **fields))
    first, second = fake.requests
    assert (first.temperature, first.top_k, first.top_p, first.candidates) == (0.3, 7, 0.9, 5)
    assert (first.echo, first.stops, first.max_new_tokens) == (True, ("\n",), 3)
    assert second == replace(first, id="j-1", seed=0)
