"""A closed loop of clients over HTTP: each sends its next request when it has its answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import aiohttp

#: Seconds that one request may take, its wait in the slowest server's queue included.
LIMIT_S = 600

#: Seconds between two calls of /tokenize beside a load: enough calls for a 99th percentile, too few
#: to be a load themselves.
PROBE_PAUSE_S = 0.1

Post = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Refused(Exception):
    """A server answered something else than 200, or nothing."""


@dataclass(frozen=True)
class Sample:
    """One answered request: when it was sent, how long it took, and the answer."""

    sent: float
    seconds: float
    answer: dict[str, Any]


async def timed(post: Post, path: str, body: dict[str, Any]) -> Sample:
    """Sends one request and times it."""
    sent = time.perf_counter()
    answer = await post(path, body)
    return Sample(sent, time.perf_counter() - sent, answer)


async def closed_loop(
    post: Post, path: str, bodies: Iterable[dict[str, Any]], clients: int
) -> list[Sample]:
    """All bodies, sent by so many clients at once; the samples in the bodies' order.

    Raises:
        Refused: one was not answered; the other clients are stopped.
    """
    waiting = enumerate(bodies)
    done: dict[int, Sample] = {}

    async def client() -> None:
        for place, body in waiting:
            done[place] = await timed(post, path, body)

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return [done[place] for place in sorted(done)]


async def beside(
    load: Awaitable[list[Sample]], post: Post, path: str, body: dict[str, Any]
) -> tuple[list[Sample], list[Sample]]:
    """The samples of a load, and of a body sent again and again while it runs."""
    probes: list[Sample] = []
    running = asyncio.ensure_future(load)
    while not running.done():
        probes.append(await timed(post, path, body))
        await asyncio.wait([running], timeout=PROBE_PAUSE_S)
    return await running, probes


def connect(url: str) -> aiohttp.ClientSession:
    """A session for one server, to be used with ``async with``.

    A new connection for each request, as HELM makes them: one kept open may be closed by the server
    (uvicorn's default is 5 s) just as the next request is on its way.
    """
    return aiohttp.ClientSession(
        url,
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=LIMIT_S),
    )


def poster(session: aiohttp.ClientSession) -> Post:
    """How to POST JSON in a session; raises :class:`Refused`."""

    async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            async with session.post(path, json=body) as response:
                if response.status != 200:
                    raise Refused(f"{path}: {response.status} {(await response.text())[:200]}")
                answer: dict[str, Any] = await response.json()
                return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Refused(f"{path}: {type(error).__name__} {error}") from error

    return post
