"""The gate in front of a small application, called as an HTTP server would."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Request
from prometheus_client.parser import text_string_to_metric_families
from starlette.datastructures import Headers

from serve.admission import Gate
from serve.config import ServeConfig
from serve.metrics import Metrics
from serve.state import State, shared_state


class Site:
    """An application with a gate; /process answers when ``go`` is set."""

    def __init__(self, **config: Any) -> None:
        self.state: State = shared_state()
        self.metrics = Metrics(self.state)
        self.go = asyncio.Event()
        app = FastAPI()

        @app.post("/process")
        async def process(request: Request) -> dict[str, Any]:
            length = len(await request.body())
            if request.headers.get("fault"):
                raise HTTPException(504, "late")
            await self.go.wait()
            return {"length": length, "id": request.state.request_id}

        @app.post("/tokenize")
        async def tokenize(body: dict[str, Any]) -> dict[str, Any]:
            return body

        self.gate = Gate(app, ServeConfig(**config), self.state, self.metrics)

    async def post(self, path: str, *chunks: bytes, **headers: str) -> tuple[int, Headers, bytes]:
        """Sends a body in chunks."""
        parts = body_messages(chunks)
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        }
        await self.gate(scope, parts.__anext__, send)
        head = Headers(raw=sent[0]["headers"])
        return sent[0]["status"], head, b"".join(m.get("body", b"") for m in sent[1:])

    def counted(self) -> dict[tuple[str, ...], float]:
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(self.metrics.text(None).decode())
            for sample in family.samples
        }


async def body_messages(chunks: tuple[bytes, ...]) -> AsyncIterator[dict[str, Any]]:
    for chunk in chunks:
        yield {"type": "http.request", "body": chunk, "more_body": True}
    yield {"type": "http.request", "body": b"", "more_body": False}
    yield {"type": "http.disconnect"}


def test_ids_are_taken_or_made() -> None:
    async def talk() -> None:
        site = Site()
        site.go.set()
        for fit in ("a", "A.b_c-9", "x" * 64):
            _, head, body = await site.post("/process", x_request_id=fit)
            assert head["x-request-id"] == fit and fit.encode() in body
        made = set()
        for unfit in ("", "x" * 65, "a b", "é", 'a"}', "a\n"):
            _, head, _ = await site.post("/process", x_request_id=unfit)
            made.add(head["x-request-id"])
        assert len(made) == 6 and all(len(one) == 16 for one in made)
        status, head, _ = await site.post("/nowhere", x_request_id="lost")
        assert (status, head["x-request-id"]) == (404, "lost")

    asyncio.run(talk())


def test_a_full_queue_says_when_to_come_back(caplog: pytest.LogCaptureFixture) -> None:
    async def talk() -> None:
        site = Site(max_queue=2)
        running = [asyncio.create_task(site.post("/process")) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert site.state.in_flight == 2
        status, head, body = await site.post("/process", x_request_id="third")
        assert (status, int(head["retry-after"]) > 0) == (503, True)
        assert b"2 requests are in flight" in body and head["x-request-id"] == "third"
        site.go.set()
        assert [(await one)[0] for one in running] == [200, 200]
        assert (await site.post("/process"))[0] == 200
        assert site.state.in_flight == 0
        assert site.counted()["oneday_rejections_total", "full"] == 1
        assert site.counted()["oneday_requests_total", "/process", "503"] == 1

    with caplog.at_level(logging.INFO, "serve"):
        asyncio.run(talk())
    fields: dict[str, Any] = vars(caplog.records[0])
    assert (fields["id"], fields["status"]) == ("third", 503)


def test_draining_refuses_new_requests_only() -> None:
    async def talk() -> None:
        site = Site()
        accepted = asyncio.create_task(site.post("/process"))
        await asyncio.sleep(0.05)
        site.state.draining = True
        status, head, body = await site.post("/process")
        assert (status, "retry-after" in head, b"draining" in body) == (503, True, True)
        assert (await site.post("/tokenize", b"{}", content_type="application/json"))[0] == 200
        assert site.state.in_flight == 1
        site.go.set()
        assert (await accepted)[0] == 200
        assert site.state.in_flight == 0

    asyncio.run(talk())


@pytest.mark.parametrize("path", ["/process", "/tokenize"])
def test_bodies_have_a_limit(path: str) -> None:
    async def talk() -> None:
        site = Site(max_body=1000)
        site.go.set()
        kind = "application/json"
        full = b'{"a": "' + b"x" * 991 + b'"}'
        assert len(full) == 1000
        assert (await site.post(path, full, content_type=kind))[0] == 200
        declared = await site.post(path, full, b" ", content_type=kind, content_length="1001")
        chunked = await site.post(path, full[:500], full[500:], b" ", content_type=kind)
        assert declared[0] == chunked[0] == 413
        assert b"the body has 1001 bytes, at most 1000 are taken (max_body)" in declared[2]
        assert b"the body has more than 1000 bytes" in chunked[2]
        assert "x-request-id" in declared[1]

    asyncio.run(talk())


def test_a_request_that_fails_is_no_longer_in_flight() -> None:
    async def talk() -> None:
        site = Site()
        assert (await site.post("/process", fault="yes"))[0] == 504
        site.go = asyncio.Event()
        leaving = asyncio.create_task(site.post("/process"))
        await asyncio.sleep(0.05)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert site.state.in_flight == 0

    asyncio.run(talk())


class Upload:
    """A request whose body comes when it is told to."""

    def __init__(self, site: Site, path: str = "/process", **headers: str) -> None:
        self.parts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[Any] = []

        async def send(message: Any) -> None:
            self.sent.append(message)

        named = [(k.encode(), v.encode()) for k, v in headers.items()]
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": named,
        }
        self.answer = asyncio.create_task(site.gate(scope, self.parts.get, send))

    def byte(self, last: bool = False) -> None:
        self.parts.put_nowait({"type": "http.request", "body": b"x", "more_body": not last})

    async def reply(self) -> tuple[int, Headers, bytes]:
        await self.answer
        head = Headers(raw=self.sent[0]["headers"])
        return self.sent[0]["status"], head, b"".join(m.get("body", b"") for m in self.sent[1:])


def test_an_upload_that_does_not_end_holds_no_place() -> None:
    async def talk() -> None:
        site = Site(max_queue=1, body_s=600.0)
        site.go.set()
        slow = [Upload(site) for _ in range(3)]
        for one in slow:
            one.byte()
        await asyncio.sleep(0.05)
        assert site.state.in_flight == 0
        assert (await site.post("/process", b"whole"))[0] == 200
        slow[0].byte(last=True)
        status, _, body = await slow[0].reply()
        assert status == 200 and b'"length":2' in body
        for one in slow[1:]:
            one.answer.cancel()
        await asyncio.gather(*(one.answer for one in slow[1:]), return_exceptions=True)
        assert site.state.in_flight == 0

    asyncio.run(talk())


def test_a_place_is_looked_for_when_the_body_is_there() -> None:
    async def talk() -> None:
        site = Site(max_queue=1)
        first, second = Upload(site), Upload(site)
        await asyncio.sleep(0.05)
        first.byte(last=True)
        await asyncio.sleep(0.05)
        second.byte(last=True)
        status, head, body = await second.reply()
        assert (status, int(head["retry-after"]) > 0) == (503, True) and b"max_queue" in body
        assert site.state.in_flight == 1 and site.counted()["oneday_rejections_total", "full"] == 1
        site.go.set()
        assert (await first.reply())[0] == 200 and site.state.in_flight == 0

    asyncio.run(talk())


@pytest.mark.parametrize("path", ["/process", "/tokenize"])
def test_a_body_has_its_time(path: str) -> None:
    async def talk() -> None:
        site = Site(body_s=0.5)
        slow = Upload(site, path, **{"content-type": "application/json"})
        sender = asyncio.create_task(drip(slow))
        status, head, body = await slow.reply()
        sender.cancel()
        assert (status, head["connection"]) == (408, "close") and b"within 0.5 s (body_s)" in body
        assert site.state.in_flight == 0

    asyncio.run(talk())


async def drip(upload: Upload) -> None:
    while True:
        upload.byte()
        await asyncio.sleep(0.05)


def test_a_drain_does_not_wait_for_bodies() -> None:
    async def talk() -> None:
        site = Site(body_s=600.0)
        slow, silent = Upload(site), Upload(site)
        await asyncio.sleep(0.05)
        slow.byte()
        site.state.draining = True
        for one in (slow, silent):
            status, head, body = await one.reply()
            assert (status, head["connection"]) == (503, "close") and b"draining" in body
        assert site.state.in_flight == 0

    asyncio.run(talk())
