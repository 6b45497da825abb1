"""The HTTP side: LitServe with our own routes.

LitServe gives the processes, the queue and uvicorn; batching is the engine's. /process crosses to
the worker through a ``LitSpec``, and so does /v1 (``serve.openai``); /tokenize, /decode, /health
and /metrics are plain routes of the HTTP process and never wait behind generation. Measured traps
of LitServe 0.2.19 that shape this module: its timeout counts queue time only, a client that hangs
up or a worker that dies is never noticed, a string for its payload limit refuses everything, and
the ``LitSpec`` fields used here (``request_queue``, ``response_buffer``, ``response_queue_id``) are
undocumented, hence the pinned version and ``tests/serve/test_server.py``.

No ``from __future__ import annotations`` here: FastAPI must see the annotations themselves.
"""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from litserve.specs.base import LitSpec
from litserve.utils import LitAPIStatus, ResponseBufferItem
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response

from serve import advice
from serve.admission import Gate, failure
from serve.config import ServeConfig
from serve.contract import (
    DecodeRequest,
    DecodeResponse,
    ProcessRequest,
    TokenizeRequest,
    TokenizeResponse,
    openapi_document,
)
from serve.metrics import Metrics
from serve.openai import SHORTENED, add_openai_routes
from serve.openai_fields import IGNORED, header
from serve.remote import add_remote_routes, faults_of, tokenized
from serve.state import State, shared_state
from serve.supervisor import Server
from serve.text import TextCodec
from serve.worker import Cancel, Job, Peek, Ping, Worker

#: Seconds between two looks at whether the client, the worker and the server are still there.
POLL_S = 0.25

#: Seconds between two looks at a text that is streamed.
PEEK_S = 0.05

#: How long the HTTP side waits beyond the deadline before it gives the worker up.
WORKER_GRACE_S = 5.0

#: How long /health and /metrics wait for a worker that is ready, so answers in milliseconds.
PING_TIMEOUT_S = 5.0

#: Nobody reads the answer of a request whose client has gone (nginx's status for it).
CLIENT_CLOSED_REQUEST = 499


class Unanswered(HTTPException):
    """The worker gave no answer, and none is waited for any more."""


class ProtocolSpec(LitSpec):
    """The /process route: queues a job, waits for its answer, notices who leaves meanwhile.

    Args:
        deadline_s: after which the worker should have answered 504 itself.
        state: shared by the server's processes.
    """

    def __init__(self, deadline_s: float, state: State) -> None:
        super().__init__()
        self.api_path = "/process"
        self._limit_s = deadline_s + WORKER_GRACE_S
        self._state = state
        self.add_endpoint("/process", self.process_request, ["POST"])

    @property
    def context(self) -> int:
        """Most tokens of prompt and completion together; 0 until the worker has loaded."""
        return self._state.context

    def decode_request(self, request: Any, context_kwargs: dict[str, Any] | None = None) -> Any:
        """Unused: jobs cross the queue as they are."""
        return request

    def encode_response(self, output: Any, context_kwargs: dict[str, Any] | None = None) -> Any:
        """Unused: answers are finished responses."""
        return output

    async def process_request(self, input_data: ProcessRequest, request: Request) -> Response:
        """Continue or score one prompt."""
        job = process_job(input_data, request.state.request_id)
        try:
            answer: Response = await self._exchange(job.id, job, self._limit_s, request)
            answer.headers.update(header(input_data.ignored))
            return answer
        except Unanswered as error:
            self._send(job.id + "-cancel", Cancel(job.id))
            return failure(request.scope, error.status_code, error.detail)

    async def complete(self, jobs: Sequence[Job], request: Request) -> list[dict[str, Any]]:
        """The worker's answers to jobs of one request, see :class:`serve.openai.Asker`."""
        tasks = [
            asyncio.ensure_future(self._exchange(job.id, job, self._limit_s, request))
            for job in jobs
        ]
        try:
            return [json.loads(response.body) for response in await asyncio.gather(*tasks)]
        except BaseException:
            # Also when a stream is closed: nobody reads what its jobs would still make.
            for job in jobs:
                self._send(job.id + "-cancel", Cancel(job.id))
            raise
        finally:
            # gather leaves the others running when one has failed.
            for task in tasks:
                task.cancel()

    async def follow(
        self, jobs: Sequence[Job], request: Request
    ) -> AsyncIterator[tuple[list[str], list[dict[str, Any]] | None]]:
        """The texts as they grow, then the answers, see :class:`serve.openai.Asker`."""
        answers = asyncio.ensure_future(self.complete(jobs, request))
        try:
            while not (await asyncio.wait({answers}, timeout=PEEK_S))[0]:
                texts = [await self._peek(job) for job in jobs]
                yield [text for some in texts for text in some], None
            yield [], answers.result()
        finally:
            answers.cancel()  # the client may go between two texts

    async def _peek(self, job: Job) -> list[str]:
        """What there is of a job's completions; empty texts for those that show nothing yet."""
        texts: list[str] = []
        if job.streams:
            with contextlib.suppress(Unanswered):  # its answer will say why
                reply = await self._exchange(uuid.uuid4().hex, Peek(job.id), PING_TIMEOUT_S)
                texts = json.loads(reply.body)["texts"]
        return texts + [""] * (job.body.num_samples - len(texts))

    async def ask_worker(self) -> dict[str, Any] | None:
        """``serve.worker.Worker.report``; None while there is no worker that answers."""
        if not self._state.ready:
            return None
        try:
            response = await self._exchange(uuid.uuid4().hex, Ping(), PING_TIMEOUT_S)
        except Unanswered:
            return None
        report: dict[str, Any] = json.loads(response.body)
        return report

    def _send(self, uid: str, message: Any) -> None:
        self.request_queue.put((self.response_queue_id, uid, time.monotonic(), message))

    async def _exchange(
        self, uid: str, message: Any, limit_s: float, request: Request | None = None
    ) -> Any:
        """Sends one message to the worker and waits for the answer.

        Args:
            uid: of the message.
            message: what is sent.
            limit_s: seconds to wait.
            request: whose client may go.

        Raises:
            Unanswered: no answer within ``limit_s``, or client, worker or server went before.
            HTTPException: the worker's answer is one.
        """
        # Both before it is sent, so that neither a death nor a quick answer is missed.
        deaths = self._state.deaths
        self.response_buffer[uid] = item = ResponseBufferItem(event=asyncio.Event())
        self._send(uid, message)
        try:
            async with asyncio.timeout(limit_s):
                while not await _set_within(item.event, POLL_S):
                    await self._check_others(deaths, request)
        except TimeoutError:
            raise Unanswered(504, "the worker did not answer") from None
        finally:
            self.response_buffer.pop(uid, None)
        response, status = item.response
        if status != LitAPIStatus.ERROR:
            return response
        raise (
            response if isinstance(response, HTTPException) else HTTPException(500, "worker failed")
        )

    async def _check_others(self, deaths: int, request: Request | None) -> None:
        if request and await request.is_disconnected():
            raise Unanswered(CLIENT_CLOSED_REQUEST, "the client has gone")
        if self._state.deaths != deaths:
            raise Unanswered(500, "the worker died while it had this request")
        if self._state.stopping:
            raise Unanswered(503, "the server was stopped before the answer was complete")


def process_job(body: ProcessRequest, request_id: str) -> Job:
    """What the worker is asked for /process."""
    # An echo before new tokens shows the text; one without any is there for its scores.
    scores = "max_new_tokens" if body.echo_prompt and not body.max_new_tokens else None
    return Job(uuid.uuid4().hex, body, time.monotonic(), request_id, scores=scores)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Waits for an event; returns whether it came."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def build_server(model_dir: Path, text: TextCodec, config: ServeConfig, device: str) -> Server:
    """The server, ready to run.

    Args:
        model_dir: a self-contained Hugging Face folder.
        text: its tokenizer, for the HTTP process (the worker reads its own).
        config: the recipe's ``serve`` section.
        device: ``cpu`` or ``cuda``.
    """
    state = shared_state()
    metrics = Metrics(state)
    spec = ProtocolSpec(config.deadline_s, state)
    server = Server(
        Worker(model_dir, config, device, spec, state),
        state,
        config.drain_s,
        # "auto" would look for a card here and start a worker on each.
        accelerator=device,
        devices=1,  # a Cancel must reach the worker that has the job
        timeout=False,  # LitServe's counts the wait in the queue only; see _exchange
        # LitServe's own, out of the way: its health check cannot see the engine.
        healthcheck_path="/_health",
        info_path="/_info",
    )
    _add_text_routes(server.app, text, spec)
    add_remote_routes(server.app, text, model_dir)
    _add_state_routes(server.app, spec, state, metrics)
    add_openai_routes(server.app, spec, text, model_dir, config)
    server.app.add_exception_handler(RequestValidationError, _refuse)
    server.app.add_exception_handler(AnyHTTPException, _fail)
    server.app.add_exception_handler(Exception, _break)
    server.app.add_middleware(Gate, config=config, state=state, metrics=metrics)
    if config.cors:  # outside of the gate: a browser's own question is no request to count
        server.app.add_middleware(
            CORSMiddleware,
            allow_origins=config.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-Id", "Retry-After", IGNORED, SHORTENED],
        )
    # Else /openapi.json would tell of LitServe's routes and of /v1, but of no refusal.
    server.app.openapi = openapi_document
    return server


def _add_text_routes(app: Any, text: TextCodec, spec: ProtocolSpec) -> None:
    """/tokenize and /decode. Not ``async``: FastAPI runs them in threads, beside each other."""

    @app.post("/tokenize", response_model=TokenizeResponse)
    def tokenize(input_data: TokenizeRequest, response: Response) -> Any:
        if input_data.is_remote:
            return JSONResponse(tokenized(text, input_data, spec.context))
        response.headers.update(header(input_data.ignored))
        start = time.perf_counter()
        ids = text.encode(input_data.text)
        if input_data.truncation:
            ids = ids[: input_data.max_length]
        return TokenizeResponse(tokens=ids, request_time=time.perf_counter() - start)

    @app.post("/decode")
    def decode(input_data: DecodeRequest, response: Response) -> DecodeResponse:
        response.headers.update(header(input_data.ignored))
        start = time.perf_counter()
        if faults := faults_of(input_data.tokens, text.undecodable(input_data.tokens)):
            raise HTTPException(422, faults)
        decoded = text.decode(input_data.tokens)
        return DecodeResponse(text=decoded, request_time=time.perf_counter() - start)


def _add_state_routes(app: Any, spec: ProtocolSpec, state: State, metrics: Metrics) -> None:
    """/health: 200 once the engine is ready, else 503. /metrics: Prometheus text."""

    @app.api_route("/health", methods=["GET", "HEAD"])  # HEAD is what some probes send
    async def health() -> JSONResponse:
        answer = await _health(spec, state)
        return JSONResponse(answer, 200 if answer["status"] == "ready" else 503)

    @app.get("/metrics")
    async def measures() -> Response:
        report = await spec.ask_worker()
        text = metrics.text(report["figures"] if report else None)
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)


async def _health(spec: ProtocolSpec, state: State) -> dict[str, Any]:
    if state.draining:
        return {"status": "draining", "in_flight": state.in_flight}
    report = await spec.ask_worker()
    if report:
        health: dict[str, Any] = report["health"]
        return health
    if state.ready:
        return {"status": "failed", "reason": "the worker does not answer"}
    again = ", again: the one before died" if state.deaths else ""
    return {"status": "loading", "reason": f"the worker loads the model{again}"}


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    """A 422 that names each field.

    FastAPI's own would repeat the input, and fail with a 500 where that is NaN or a lone surrogate.
    """
    assert isinstance(error, RequestValidationError)
    faults = [{key: fault[key] for key in ("loc", "msg", "type")} for fault in error.errors()]
    faults = advice.for_body(request.headers.get("content-type", ""), faults)
    return failure(request.scope, 422, faults)


async def _fail(request: Request, error: Exception) -> JSONResponse:
    """All other refusals: the worker's, those of routes and of the gate."""
    assert isinstance(error, AnyHTTPException)
    if error.status_code == 400:  # FastAPI's answer to a body that is not even text
        fault = {"loc": ["body"], "msg": "the body cannot be read as JSON", "type": "json_invalid"}
        return failure(request.scope, 422, [fault])
    detail = error.detail
    if detail == "Not Found":  # the router's own words, not those of a route
        detail = advice.for_address(request.url.path)
    elif detail == "Method Not Allowed":
        detail = advice.for_method(request.method, request.url.path)
    return failure(request.scope, error.status_code, detail, error.headers)


async def _break(request: Request, error: Exception) -> JSONResponse:
    """A fault of ours; uvicorn logs its traceback. This answer does not pass the gate."""
    headers = {"X-Request-Id": request.state.request_id}
    return failure(request.scope, 500, f"internal error: {type(error).__name__}", headers)
