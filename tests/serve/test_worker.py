"""The worker's own logic, without a server: LitServe's calls are made by hand."""

import asyncio
import json
import logging
import math
import os
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException

import serve.engine
import serve.worker
from serve.app import ProtocolSpec
from serve.config import Match, Rule, ServeConfig
from serve.contract import ProcessRequest, ProcessResponse
from serve.engine.base import EngineError, EngineStats, GenRequest, GenResult, GenToken, ModelInfo
from serve.engine.hf_dynamic import HfDynamic
from serve.state import shared_state
from serve.text import TextCodec
from serve.worker import ENGINE_DEAD, LOAD_FAILED, Cancel, Job, Ping, Worker


class FakeEngine:
    """Answers with a prepared outcome; None means never."""

    def __init__(self, text: TextCodec, outcome: GenResult | Exception | None) -> None:
        self.text, self._outcome = text, outcome
        self.info = ModelInfo("fake", "fake", "cpu", "float32", "none", 1, 16)
        self.grammars = None
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

    def stats(self) -> EngineStats:
        return EngineStats(running=2, new_tokens=7)

    def close(self) -> None: ...


def worker(engine: Any, **config: Any) -> Worker:
    """A worker whose engine is loaded."""
    settings, state = ServeConfig(**config), shared_state()
    spec = ProtocolSpec(settings.deadline_s, state)
    built = Worker(Path("model"), settings, "cpu", spec, state)
    built._engine = Future()
    built._engine.set_result(engine)
    return built


def job(prompt: str = "The capital of France is", **fields: Any) -> Job:
    body = ProcessRequest.model_validate({"prompt": prompt, "temperature": 0, **fields})
    return Job("j", body, time.monotonic(), "r")


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


def report(built: Worker) -> dict[str, Any]:
    response = asyncio.run(built.predict(Ping()))
    assert response is not None
    content: dict[str, Any] = json.loads(bytes(response.body))
    return content


def test_states(codecs: dict[str, TextCodec]) -> None:
    loading = worker(None)
    loading._engine = Future()
    assert report(loading) == {"health": {"status": "loading"}, "figures": None}
    fake = FakeEngine(codecs["byte_level"], None)
    ready = report(worker(fake))
    assert (ready["health"]["status"], ready["health"]["model"]["name"]) == ("ready", "fake")
    assert (ready["figures"]["stats"]["running"], ready["figures"]["rule_hits"]) == (2, [])
    assert ready["figures"]["memory_bytes"] > 10_000_000
    assert ready["figures"]["memory_peak_bytes"] >= ready["figures"]["memory_bytes"]
    fake.age = math.inf
    assert report(worker(fake))["health"]["status"] == "failed"


def test_a_report_that_fails_is_an_http_exception_too(codecs: dict[str, TextCodec]) -> None:
    fake = FakeEngine(codecs["byte_level"], None)
    fake.age = math.nan  # JSON has none
    with pytest.raises(HTTPException) as caught:
        asyncio.run(worker(fake).predict(Ping()))
    assert caught.value.status_code == 500


def result(texts: list[str], finish: Any = "length") -> GenResult:
    return GenResult(tuple(GenToken(1, text, -1.0, ()) for text in texts), finish)


RULES = {
    "choice": Rule(Match(prompt="Answer:"), adapter="letters", stop=["\n\n"], extract="([A-J])"),
    "rest": Rule(wrap="### {prompt}", cut=["Question"]),
}


def test_rules_change_the_request_and_the_answer(codecs: dict[str, TextCodec]) -> None:
    fake = FakeEngine(codecs["byte_level"], result(["A", ". yes"], "stop"))
    built = worker(fake, rules=RULES)
    content = answer(built, job("1+1? Answer:", max_new_tokens=3, stop_sequences=["x"]))
    assert content["text"] == "A"
    [request] = fake.requests
    assert (request.adapter, request.stops) == ("letters", ("x", "\n\n"))
    assert request.enough and request.enough("A. ") and not request.enough("")
    hits = report(built)["figures"]["rule_hits"]
    assert sorted(map(tuple, hits)) == [
        ("choice", "extract", 1),
        ("choice", "match", 1),
        ("choice", "stop", 1),
    ]


def test_rules_wrap_and_cut(codecs: dict[str, TextCodec]) -> None:
    codec = codecs["byte_level"]
    fake = FakeEngine(codec, result(["4", "\n", "Question", ": 5"]))
    built = worker(fake, rules=RULES)
    assert answer(built, job("2+2", max_new_tokens=3))["text"].strip() == "4"
    assert codec.decode(fake.requests[0].prompt) == "### 2+2"
    steps = {step for _, step, _ in report(built)["figures"]["rule_hits"]}
    assert steps == {"match", "wrap", "cut"}


@pytest.mark.parametrize("fields", [{"echo_prompt": True}, {"max_new_tokens": 0}])
def test_rules_leave_scores_alone(codecs: dict[str, TextCodec], fields: dict[str, Any]) -> None:
    fake = FakeEngine(codecs["byte_level"], result(["A", ". yes"]))
    built = worker(fake, rules=RULES)
    assert answer(built, job("Answer:", **fields))["text"] == "A. yes"
    assert (fake.requests[0].adapter, fake.requests[0].stops) == (None, ())
    assert report(built)["figures"]["rule_hits"] == []


@pytest.mark.parametrize("parsed", [True, False])
def test_special_tokens_in_prompts(codecs: dict[str, TextCodec], parsed: bool) -> None:
    fake = FakeEngine(codecs["byte_level"], result(["x"]))
    fake.info = replace(fake.info, context=100)
    answer(worker(fake, parse_special=parsed), job("<|endoftext|>", max_new_tokens=1))
    assert (len(fake.requests[0].prompt) == 1) == parsed


class Ended(BaseException):
    """What ``os._exit`` does in these tests."""


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(serve.worker, "WATCH_S", 0.01)


def test_a_model_that_cannot_answer_is_not_ready(
    codecs: dict[str, TextCodec],
    ending: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = FakeEngine(codecs["byte_level"], EngineError("NaN everywhere"))
    monkeypatch.setattr(serve.engine, "build_engine", lambda *_: broken)
    built = worker(None)
    built._engine = Future()
    with pytest.raises(Ended) as caught:
        built._keep_engine()
    assert caught.value.args == (LOAD_FAILED,)
    assert "error: cannot load the model in model: EngineError: NaN" in capsys.readouterr().err
    assert not built._state.ready and not built._engine.done()
    [warm_up] = broken.requests
    assert (len(warm_up.prompt) > 0, warm_up.max_new_tokens) == (True, 2)


def test_a_dead_engine_ends_the_process(codecs: dict[str, TextCodec], ending: None) -> None:
    fake = FakeEngine(codecs["byte_level"], None)
    fake.age = math.inf
    with pytest.raises(Ended) as caught:
        worker(fake)._watch(fake)
    assert caught.value.args == (ENGINE_DEAD,)


@pytest.mark.parametrize("wanted", [False, True])
def test_log_has_figures_and_words_only_on_wish(
    codecs: dict[str, TextCodec], caplog: pytest.LogCaptureFixture, wanted: bool
) -> None:
    fake = FakeEngine(codecs["byte_level"], result(["secret", "!"]))
    with caplog.at_level(logging.INFO, "serve"):
        answer(worker(fake, log_prompts=wanted), job("mine"))
    [record] = [record for record in caplog.records if record.getMessage() == "answered"]
    fields: dict[str, Any] = vars(record)
    assert (fields["id"], fields["status"], fields["new_tokens"]) == ("r", 200, 2)
    assert fields["finish"] == "length" and fields["prompt_tokens"] > 0
    assert (fields.get("prompt"), fields.get("answers")) == (
        ("mine", ["secret!"]) if wanted else (None, None)
    )


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
