"""The gate that every HTTP request passes: its id, its size, and whether it is accepted.

Plain ASGI around the whole application, so that refusals carry the id and are counted as well, and
so that a request counts as in flight until the last byte of its answer has been handed over.
"""

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.config import ServeConfig
from serve.metrics import Metrics
from serve.openai_errors import PREFIX, as_openai
from serve.state import State

log = logging.getLogger(__name__)

#: What the model is asked on: at most ``max_queue`` of them at a time, none while draining.
GENERATING = ("/process", "/v1/completions", "/v1/chat/completions")

DRAINING = "draining: the server is shutting down"

#: Seconds between two looks at whether a body that is not complete is still waited for.
POLL_S = 0.25

#: Seconds after which a refused client should try again.
RETRY_AFTER_S = 10
AGAIN = {"Retry-After": str(RETRY_AFTER_S)}

#: Ids of the client's own that are taken over; others could forge log lines or headers.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Gate:
    """ASGI middleware.

    Each request's scope gets ``state.request_id`` and ``state.received`` (``time.monotonic()``).

    Args:
        app: what is behind the gate.
        config: ``max_queue`` and ``max_body``.
        state: the server's; ``in_flight`` is counted here.
        metrics: told of every answer.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig, state: State, metrics: Metrics) -> None:
        self._app, self._config, self._state, self._metrics = app, config, state, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets one request through, or answers it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # 500 until an answer begins: it is uvicorn's own where the application breaks.
        headers, start, status = Headers(scope=scope), time.monotonic(), 500
        request_id = request_id_of(headers)
        scope["state"] = scope.get("state", {}) | {"request_id": request_id, "received": start}

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            body = limited(receive, headers, self._config.max_body)
            await self._admit(scope, Body(body, self._config.body_s, self._state), reply)
        finally:
            self._metrics.answered(scope["path"], status, time.monotonic() - start)

    async def _admit(self, scope: Scope, body: "Body", send: Send) -> None:
        """A request holds a place from its last byte on: who sends slowly holds up nobody."""
        if scope["method"] != "POST" or scope["path"] not in GENERATING:
            await self._app(scope, body.receive, send)
            return
        refusal = self._refusal(self._state.in_flight + 1)
        if refusal:  # before its body is read
            await failure(scope, 503, refusal)(scope, body.receive, send)
            return
        body.whole = self._take
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._state.in_flight -= body.taken

    def _take(self) -> None:
        """Gives a request that is whole its place.

        Raises:
            HTTPException: there is none; who is refused holds none, however slowly it reads.
        """
        self._state.in_flight += 1  # before the look at ``draining``: the drain waits for it
        if refusal := self._refusal(self._state.in_flight):
            self._state.in_flight -= 1
            raise HTTPException(503, refusal, AGAIN)

    def _refusal(self, in_flight: int) -> str | None:
        """Why a request cannot be accepted now; ``in_flight`` counts it, too."""
        if self._state.draining:
            self._metrics.rejected("draining")
            return DRAINING
        limit = self._config.max_queue
        if in_flight > limit:
            self._metrics.rejected("full")
            return f"{limit} requests are in flight, the most (max_queue)"
        return None


class Body:
    """A request's body on its way in: it may not take for ever, and no drain waits for it.

    Args:
        receive: gives its parts.
        limit_s: seconds that it may take from now on.
        state: the server's.

    Attributes:
        whole: called once its last part is here; what it raises is the answer.
        taken: whether that call went well.
    """

    def __init__(self, receive: Receive, limit_s: float, state: State) -> None:
        self._receive, self._limit_s, self._state = receive, limit_s, state
        self._until = time.monotonic() + limit_s
        self._complete = False
        self.whole: Callable[[], None] | None = None
        self.taken = False

    async def receive(self) -> Message:
        """The next message.

        Raises:
            HTTPException: 408 after the limit, 503 where the server drains meanwhile.
        """
        message = await (self._receive() if self._complete else self._in_time())
        if not self._complete and not message.get("more_body", False):
            self._complete = True  # or its client has gone
            if self.whole and message["type"] == "http.request":
                self.whole()
                self.taken = True
        return message

    async def _in_time(self) -> Message:
        while True:
            left = self._until - time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(POLL_S, left)):
                    return await self._receive()
            close = {"Connection": "close"}  # else its rest would be waited for
            if time.monotonic() >= self._until:
                said = f"the body was not complete within {self._limit_s:g} s (body_s)"
                raise HTTPException(408, said, close)
            if self._state.draining and self.whole:
                raise HTTPException(503, DRAINING, close | AGAIN)


def failure(
    scope: Scope, status: int, detail: Any, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The log line and the answer of a request that is refused or that failed.

    Args:
        scope: of the request, as the gate has let it through.
        status: of the answer; a 503 says when to come back.
        detail: what is wrong.
        headers: of the answer.
    """
    body: dict[str, Any] = {"detail": detail}
    if scope["path"].startswith(PREFIX):
        status, body = as_openai(status, detail)
    figures = {
        "id": scope["state"]["request_id"],
        "path": scope["path"],
        "status": status,
        "detail": detail,
        "seconds": round(time.monotonic() - scope["state"]["received"], 4),
    }
    log.log(logging.WARNING if status >= 500 else logging.INFO, "failed", extra=figures)
    return JSONResponse(body, status, {**(headers or {}), **(AGAIN if status == 503 else {})})


def request_id_of(headers: Headers) -> str:
    """The client's ``X-Request-Id`` if it is a fit one, else a new one."""
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex[:16]


def limited(receive: Receive, headers: Headers, limit: int) -> Receive:
    """``receive`` that raises a 413 once the body is, or says it is, over ``limit`` bytes.

    The HTTP server throws the rest of the body away by itself, so the client gets to read it.
    """
    declared = int(headers.get("content-length", 0))  # the HTTP server has checked it
    size = 0

    async def receive_some() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if max(size, declared) > limit:
            length = declared or f"more than {limit}"
            raise HTTPException(
                413, f"the body has {length} bytes, at most {limit} are taken (max_body)"
            )
        return message

    return receive_some
