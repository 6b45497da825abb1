"""The closed loop: never more requests at a time than clients, answers in order, failures told."""

import asyncio
from typing import Any

import pytest

from benchmarks.client import Refused, beside, closed_loop, connect, poster


class FakeServer:
    """Answers after a moment; knows how many it was asked at once."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.seconds, self.running, self.most = seconds, 0, 0

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(self.seconds)
        self.running -= 1
        if body.get("fails"):
            raise Refused(f"{path}: 500")
        return {"place": body.get("place")}


def test_closed_loop_keeps_all_clients_busy_and_the_order() -> None:
    server = FakeServer()
    bodies = [{"place": place} for place in range(20)]
    samples = asyncio.run(closed_loop(server.post, "/x", bodies, 4))
    assert [sample.answer["place"] for sample in samples] == list(range(20))
    assert server.most == 4
    assert all(sample.seconds >= 0.01 for sample in samples)


def test_one_refused_request_ends_the_loop() -> None:
    server = FakeServer()
    bodies = [{"fails": place == 3} for place in range(1000)]
    with pytest.raises(Refused, match="500"):
        asyncio.run(closed_loop(server.post, "/x", bodies, 2))


def test_probes_run_while_the_load_does() -> None:
    async def both() -> tuple[int, int]:
        slow, quick = FakeServer(0.15), FakeServer(0.001)
        loop = closed_loop(slow.post, "/x", [{}] * 4, 2)
        samples, probes = await beside(loop, quick.post, "/tokenize", {})
        return len(samples), len(probes)

    samples, probes = asyncio.run(both())
    assert samples == 4 and 2 <= probes <= 4


def test_a_dead_server_is_refused() -> None:
    async def ask() -> None:
        async with connect("http://127.0.0.1:9") as session:
            await poster(session)("/process", {})

    with pytest.raises(Refused, match="/process: Client"):
        asyncio.run(ask())
