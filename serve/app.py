"""The HTTP side: LitServe with our own routes.

LitServe gives the processes, the queue and uvicorn; batching is the engine's. /process crosses to
the worker through a ``LitSpec``; /tokenize, /decode and /health are plain routes of the HTTP
process, so they never wait behind generation. Measured traps of LitServe 0.2.19 that shape this
module: its timeout counts queue time only, a client that hangs up is never noticed, and the
``LitSpec`` fields used here (``request_queue``, ``response_buffer``, ``response_queue_id``) are
undocumented, hence the pinned version and ``tests/serve/test_server.py``.

No ``from __future__ import annotations`` here: FastAPI must see the annotations themselves.
"""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import litserve
from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from litserve.specs.base import LitSpec
from litserve.utils import LitAPIStatus, ResponseBufferItem
from starlette.responses import JSONResponse, Response

from serve.config import ServeConfig
from serve.contract import (
    REFUSED,
    DecodeRequest,
    DecodeResponse,
    ProcessRequest,
    TokenizeRequest,
    TokenizeResponse,
    openapi_document,
)
from serve.text import TextCodec
from serve.worker import Cancel, Job, Ping, Worker

log = logging.getLogger(__name__)

#: Seconds between two looks at whether the client is still there.
DISCONNECT_POLL_S = 0.25

#: How long the HTTP side waits beyond the deadline before it gives the worker up.
WORKER_GRACE_S = 5.0

#: How long /health waits for the worker: importing torch can hold it for seconds while it loads.
PING_TIMEOUT_S = 2.0

#: Seconds that a shutdown waits for running requests, also those of a worker that died.
DRAIN_S = 3.0

#: Largest request body, bytes. An int: LitServe takes "16MB", then refuses every request.
MAX_BODY = 16_000_000

#: Nobody reads the answer of a request whose client has gone (nginx's status for it).
CLIENT_CLOSED_REQUEST = 499


class ClientGone(Exception):
    """The client closed the connection before the answer was there."""


class ProtocolSpec(LitSpec):
    """The /process route: queues a job, waits for its answer, notices a client that leaves.

    Args:
        deadline_s: after which the worker should have answered 504 itself.
    """

    def __init__(self, deadline_s: float) -> None:
        super().__init__()
        self.api_path = "/process"
        self._limit_s = deadline_s + WORKER_GRACE_S
        self.add_endpoint("/process", self.process_request, ["POST"])

    def decode_request(self, request: Any, context_kwargs: dict[str, Any] | None = None) -> Any:
        """Unused: jobs cross the queue as they are."""
        return request

    def encode_response(self, output: Any, context_kwargs: dict[str, Any] | None = None) -> Any:
        """Unused: answers are finished responses."""
        return output

    async def process_request(self, input_data: ProcessRequest, request: Request) -> Response:
        """Continue or score one prompt."""
        job = Job(uuid.uuid4().hex[:16], input_data, time.monotonic())
        try:
            return await self._exchange(job.id, job, self._limit_s, request.is_disconnected)
        except ClientGone:
            self._send(job.id + "-cancel", Cancel(job.id))
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except TimeoutError:
            self._send(job.id + "-cancel", Cancel(job.id))
            raise HTTPException(504, "the worker did not answer") from None

    async def ping(self) -> dict[str, Any]:
        """The worker's own state; ``TimeoutError`` if it does not answer."""
        response = await self._exchange(uuid.uuid4().hex, Ping(), PING_TIMEOUT_S)
        state: dict[str, Any] = json.loads(response.body)
        return state

    def _send(self, uid: str, message: Any) -> None:
        self.request_queue.put((self.response_queue_id, uid, time.monotonic(), message))

    async def _exchange(
        self,
        uid: str,
        message: Any,
        limit_s: float,
        gone: Callable[[], Awaitable[bool]] | None = None,
    ) -> Any:
        """Sends one message to the worker and waits for the answer.

        Raises:
            TimeoutError: no answer within ``limit_s``.
            ClientGone: ``gone`` said so.
            HTTPException: the worker's answer is one.
        """
        answered = asyncio.Event()
        self.response_buffer[uid] = item = ResponseBufferItem(event=answered)
        self._send(uid, message)
        try:
            async with asyncio.timeout(limit_s):
                await _wait(answered, gone)
        finally:
            self.response_buffer.pop(uid, None)
        response, status = item.response
        if status != LitAPIStatus.ERROR:
            return response
        raise (
            response if isinstance(response, HTTPException) else HTTPException(500, "worker failed")
        )


async def _wait(answered: asyncio.Event, gone: Callable[[], Awaitable[bool]] | None) -> None:
    """Waits for the event, looking now and then whether the client has gone."""
    while not answered.is_set():
        try:
            async with asyncio.timeout(DISCONNECT_POLL_S):
                await answered.wait()
        except TimeoutError:
            if gone and await gone():
                raise ClientGone from None


def build_server(
    model_dir: Path, text: TextCodec, config: ServeConfig, device: str
) -> litserve.LitServer:
    """The server, ready to run.

    Args:
        model_dir: a self-contained Hugging Face folder.
        text: its tokenizer, for the HTTP process (the worker reads its own).
        config: the recipe's ``serve`` section.
        device: ``cpu`` or ``cuda``.
    """
    spec = ProtocolSpec(config.deadline_s)
    server = litserve.LitServer(
        Worker(model_dir, config, device, spec),
        accelerator=device,
        devices=1,
        timeout=False,
        healthcheck_path="/_health",
        info_path="/_info",
        max_payload_size=MAX_BODY,
    )
    server.uvicorn_graceful_timeout = DRAIN_S
    _add_text_routes(server.app, text)
    _add_health(server.app, spec)
    server.app.add_exception_handler(RequestValidationError, _refuse)
    server.app.openapi = openapi_document
    return server


def _add_text_routes(app: Any, text: TextCodec) -> None:
    """/tokenize and /decode. Not ``async``: FastAPI runs them in threads, beside each other."""

    @app.post("/tokenize", responses=REFUSED)
    def tokenize(input_data: TokenizeRequest) -> TokenizeResponse:
        start = time.perf_counter()
        ids = text.encode(input_data.text)
        if input_data.truncation:
            ids = ids[: input_data.max_length]
        return TokenizeResponse(tokens=ids, request_time=time.perf_counter() - start)

    @app.post("/decode", responses=REFUSED)
    def decode(input_data: DecodeRequest) -> DecodeResponse:
        start = time.perf_counter()
        places = text.unknown_ids(input_data.tokens)
        if places:
            raise HTTPException(422, [_unknown(place, input_data.tokens) for place in places[:10]])
        decoded = text.decode(input_data.tokens)
        return DecodeResponse(text=decoded, request_time=time.perf_counter() - start)


def _unknown(place: int, ids: list[int]) -> dict[str, Any]:
    message = f"id {ids[place]} is not in the vocabulary"
    return {"loc": ["body", "tokens", place], "msg": message, "type": "unknown_token"}


def _add_health(app: Any, spec: ProtocolSpec) -> None:
    """/health: 200 once the worker says that its engine is ready, else 503."""

    @app.get("/health")
    async def health() -> JSONResponse:
        try:
            state = await spec.ping()
        except TimeoutError:
            state = {"status": "loading", "reason": "the worker is busy or still starting"}
        return JSONResponse(state, 200 if state["status"] == "ready" else 503)


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    """A 422 that names each field.

    FastAPI's own would repeat the input, and fail with a 500 where that is NaN or a lone surrogate.
    """
    assert isinstance(error, RequestValidationError)
    faults = [{key: fault[key] for key in ("loc", "msg", "type")} for fault in error.errors()]
    log.info("422 %s %s", request.url.path, faults)
    return JSONResponse({"detail": faults}, 422)
