"""The inference process: takes jobs from the queue, drives the engine, answers finished JSON bytes.

LitServe spawns this process and calls the ``LitAPI`` methods below. Two rules keep it alive
(LitServe 0.2.19): no exception but ``HTTPException`` may leave ``predict`` (one that cannot be
pickled kills the server), and the answer is bytes (JSON of a 2000-token echo is three to four times
dearer through pydantic, and NaN would silently become null).

No ``from __future__ import annotations`` here: LitServe reads the annotations at run time.
"""

import asyncio
import dataclasses
import json
import logging
import math
import os
import socket
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import litserve
from fastapi import HTTPException
from litserve.specs.base import LitSpec
from starlette.responses import Response

from serve.config import ServeConfig
from serve.contract import GREEDY_TEMPERATURE, ProcessRequest
from serve.engine.base import DeadlineExceeded, Engine, EngineError, GenRequest, GenResult, GenToken
from serve.overflow import ContextOverflow, Fitted, fit

log = logging.getLogger(__name__)

#: Exit code of this process when the model cannot be loaded.
LOAD_FAILED = 3


@dataclasses.dataclass(frozen=True)
class Job:
    """One /process request on its way to the worker.

    Attributes:
        id: of the request, also in the log and in the ``X-Request-Id`` header.
        body: the validated request.
        received: ``time.monotonic()`` of its arrival (one clock for all processes of a machine).
    """

    id: str
    body: ProcessRequest
    received: float


@dataclasses.dataclass(frozen=True)
class Cancel:
    """The client of job ``id`` has gone."""

    id: str


@dataclasses.dataclass(frozen=True)
class Ping:
    """Asks for the engine's state."""


class Worker(litserve.LitAPI):
    """One model behind LitServe's queue.

    Args:
        model_dir: the folder to serve.
        config: how.
        device: ``cpu`` or ``cuda``.
        spec: the HTTP side (:class:`serve.app.ProtocolSpec`).
    """

    def __init__(self, model_dir: Path, config: ServeConfig, device: str, spec: LitSpec) -> None:
        super().__init__(enable_async=True, spec=spec, api_path="/process")
        self._model_dir, self._config, self._device = model_dir, config, device
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def setup(self, device: str) -> None:
        """Starts loading; returns at once, so that /health can say ``loading`` meanwhile."""
        configure_logging()
        self._engine: Future[Engine] = Future()
        threading.Thread(target=self._load, name="load", daemon=True).start()

    async def decode_request(self, request: Any) -> Any:
        """Jobs arrive as they are."""
        return request

    async def encode_response(self, output: Any) -> Any:
        """Answers leave as they are."""
        return output

    async def predict(self, message: Job | Cancel | Ping) -> Response | None:
        """Handles one message of the queue."""
        if isinstance(message, Ping):
            return _json(self._state())
        if isinstance(message, Cancel):
            task = self._tasks.get(message.id)
            if task:
                task.cancel()
            return None
        return await self._guarded(message)

    async def _guarded(self, job: Job) -> Response | None:
        """Answers a job; nothing but ``HTTPException`` gets out."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[job.id] = task
        try:
            async with asyncio.timeout(self._deadline(job) - time.monotonic()):
                return await self._answer(job)
        except asyncio.CancelledError:
            log.info("%s cancelled: the client has gone", job.id)
            return None
        except (TimeoutError, DeadlineExceeded):
            raise _failure(job, 504, f"no answer within {self._config.deadline_s:g} s") from None
        except ContextOverflow as error:
            fault = {"loc": ["body", "prompt"], "msg": str(error), "type": "context_overflow"}
            raise _failure(job, 422, [fault]) from None
        except EngineError as error:
            raise _failure(job, 500, str(error)) from None
        except Exception as error:
            log.exception("%s failed", job.id)
            raise _failure(job, 500, f"internal error: {type(error).__name__}") from None
        finally:
            self._tasks.pop(job.id, None)

    async def _answer(self, job: Job) -> Response:
        engine = await asyncio.shield(asyncio.wrap_future(self._engine))
        prompt = engine.text.encode_prompt(job.body.prompt)
        fitted = fit(prompt, job.body.max_new_tokens, engine.info.context, self._config.overflow)
        results = await self._generate(engine, job, fitted)
        seconds = time.monotonic() - job.received
        log.info("%s 200 %s %.3fs", job.id, _figures(fitted, results), seconds)
        content = render(results, job.body.num_samples, fitted.dropped, seconds)
        return _json(content, {"X-Request-Id": job.id})

    async def _generate(self, engine: Engine, job: Job, fitted: Fitted) -> list[GenResult]:
        """All completions of a job; greedy ones are all the same, so only one is made."""
        greedy = job.body.temperature <= GREEDY_TEMPERATURE
        requests = [
            engine_request(job, fitted, i, self._deadline(job))
            for i in range(1 if greedy else job.body.num_samples)
        ]
        futures = [asyncio.wrap_future(engine.submit(request)) for request in requests]
        try:
            return list(await asyncio.gather(*futures))
        finally:
            for request in requests:
                engine.cancel(request.id)  # those still running when one failed, or the client left

    def _deadline(self, job: Job) -> float:
        return job.received + self._config.deadline_s

    def _load(self) -> None:
        """Loads the engine; a model that cannot be loaded ends the process and so the server."""
        from serve.engine import build_engine

        try:
            engine = build_engine(self._model_dir, self._config, self._device)
        except Exception as error:
            log.debug("load failed", exc_info=True)
            print(
                f"error: cannot load the model in {self._model_dir}:",
                f"{type(error).__name__}: {error}",
                file=sys.stderr,
                flush=True,
            )
            os._exit(LOAD_FAILED)
        self._engine.set_result(engine)
        announce(self._config, engine)

    def _state(self) -> dict[str, Any]:
        if not self._engine.done():
            return {"status": "loading"}
        engine = self._engine.result()
        age = engine.heartbeat()
        if age > self._config.deadline_s:
            return {"status": "failed", "reason": "the engine makes no progress"}
        return {"status": "ready", "model": dataclasses.asdict(engine.info), "last_step_s": age}


def engine_request(job: Job, fitted: Fitted, index: int, deadline: float) -> GenRequest:
    """Completion ``index`` of a job in the engine's terms; its seed is the job's plus ``index``."""
    body = job.body
    return GenRequest(
        id=f"{job.id}-{index}",
        prompt=fitted.prompt.ids,
        lead=fitted.prompt.lead,
        max_new_tokens=fitted.max_new_tokens,
        temperature=body.temperature,
        top_k=body.top_k,
        top_p=body.top_p,
        seed=None if body.seed is None else (body.seed + index) % 2**64,
        candidates=body.top_k_per_token,
        echo=body.echo_prompt,
        stops=tuple(body.stop_sequences),
        deadline=deadline,
    )


def render(
    results: list[GenResult], num_samples: int, dropped: int, seconds: float
) -> dict[str, Any]:
    """The answer as ``serve.contract.ProcessResponse`` describes it, JSON-ready.

    Args:
        results: the completions that differ; a single one stands for all ``num_samples``.
        num_samples: how many were asked for.
        dropped: prompt tokens cut off.
        seconds: time taken.
    """
    completions = [_completion(result) for result in results]
    answer = {**completions[0], "request_time": seconds, "truncated_tokens": dropped}
    if num_samples > 1:
        answer["completions"] = completions * (num_samples // len(completions))
    return answer


def _figures(fitted: Fitted, results: list[GenResult]) -> str:
    """What the log says of an answer."""
    new = sum(len(result.tokens) for result in results)
    prompt, finish = len(fitted.prompt.ids), results[0].finish_reason
    return f"prompt={prompt} dropped={fitted.dropped} new={new} finish={finish}"


def _completion(result: GenResult) -> dict[str, Any]:
    tokens = (*result.prompt, *result.tokens)
    return {
        "text": "".join(token.text for token in tokens),
        "tokens": [_token(token) for token in tokens],
        "logprob": math.fsum(token.logprob for token in tokens),
        "finish_reason": result.finish_reason,
    }


def _token(token: GenToken) -> dict[str, Any]:
    best: dict[str, float] = {}
    for text, logprob in token.candidates:
        best.setdefault(text, logprob)  # parts of characters share the text U+FFFD: the likeliest
    return {"text": token.text, "logprob": token.logprob, "top_logprob": best}


def _json(content: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(content, allow_nan=False).encode()
    return Response(body, media_type="application/json", headers=headers)


def _failure(job: Job, status: int, detail: Any) -> HTTPException:
    log.info("%s %d %s", job.id, status, detail)
    return HTTPException(status, detail)


def configure_logging() -> None:
    """One line per event on stderr; each process of the server calls it for itself."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s", force=True
    )
    logging.getLogger("serve").setLevel(logging.INFO)
    logging.getLogger("torchao").setLevel(logging.ERROR)  # it warns about kernels of other cards


def announce(config: ServeConfig, engine: Engine) -> None:
    """Says on stdout that requests are answered, once the HTTP port is open."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    while True:
        try:
            socket.create_connection((address, config.port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.05)
    url = f"http://{f'[{address}]' if ':' in address else address}:{config.port}"
    body = '{"prompt": "The capital of France is ", "max_new_tokens": 8}'
    print(
        f"ready: {engine.info.name} on {engine.info.device} at {url}"
        f"  try: curl {url}/process -H 'Content-Type: application/json' -d '{body}'",
        flush=True,
    )
