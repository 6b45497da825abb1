"""What happens to a server whose processes die or are told to stop: real ones, over HTTP."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

LONG = {"prompt": "The", "max_new_tokens": 7000}
SHORT = {"prompt": "The", "max_new_tokens": 3}


def wait_for(condition: Callable[[], Any], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def family(server: Any) -> list[psutil.Process]:
    main = psutil.Process(server.process.pid)
    return [main, *main.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def workers(server: Any) -> list[psutil.Process]:
    """The inference process, if there is one."""
    try:
        children = psutil.Process(server.process.pid).children()
        return [child for child in alive(children) if "spawn_main" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


def health(server: Any) -> dict[str, Any]:
    """What /health says; nothing while the port is closed."""
    try:
        state: dict[str, Any] = requests.get(server.url + "/health", timeout=10).json()
    except requests.ConnectionError:
        return {}
    return state


def in_flight(server: Any) -> float:
    text = requests.get(server.url + "/metrics", timeout=10).text
    return float(text.split("\noneday_in_flight ")[1].split()[0])


@pytest.fixture
def start(model_dirs: dict[str, Path], tmp_path: Path, start_server: Any) -> Callable[..., Any]:
    """Starts a server on the model without EOS with these settings."""

    def begin(**config: Any) -> Any:
        file = tmp_path / "serve.json"
        file.write_text(json.dumps({"context": 8000, **config}))
        return start_server(model_dirs["endless"], tmp_path / "log", "--config", str(file))

    return begin


def test_a_killed_worker_costs_its_requests_and_nothing_else(start: Any) -> None:
    with start() as server, ThreadPoolExecutor(5) as pool:
        server.wait_ready()
        [idle] = workers(server)
        idle.kill()
        time.sleep(1)
        # The very next message: the dead worker's last call of the queue must not swallow it.
        assert server.post("/process", SHORT, timeout=40).status_code == 200

        running = [pool.submit(server.post, "/process", LONG) for _ in range(5)]
        assert wait_for(lambda: in_flight(server) == 5, 10)
        time.sleep(0.5)
        start_of_end = time.monotonic()
        workers(server)[0].kill()
        replies = [future.result(timeout=10) for future in running]
        assert time.monotonic() - start_of_end < 5
        for reply in replies:
            assert reply.status_code == 500 and reply.headers["X-Request-Id"]
            assert reply.json() == {"detail": "the worker died while it had this request"}
        assert health(server)["status"] == "loading"
        assert server.post("/tokenize", {"text": "still here"}).status_code == 200
        assert "oneday_worker_restarts_total 2.0" in requests.get(server.url + "/metrics").text
        server.wait_ready()
        assert server.post("/process", SHORT).status_code == 200

        processes = family(server)
        for _ in range(3):  # within a minute: no fourth start
            if wait_for(lambda: workers(server) or server.process.poll() is not None, 10):
                [worker.kill() for worker in workers(server)]
            time.sleep(0.3)
        assert server.process.wait(timeout=15) == 1
        assert wait_for(lambda: not alive(processes), 5)
        assert "error: 3 workers died within 60 s, the last by SIGKILL" in server.log.read_text()
        assert "raceback" not in server.log.read_text()


def test_a_worker_that_dies_while_it_loads_ends_the_server(start: Any) -> None:
    with start() as server:
        assert wait_for(lambda: health(server), 30)
        processes = family(server)
        workers(server)[0].kill()
        assert server.process.wait(timeout=15) == 1
        assert "error: the worker died before it was ready (SIGKILL)" in server.log.read_text()
        assert wait_for(lambda: not alive(processes), 5)


def test_sigkill_of_the_main_process_leaves_no_orphan(start: Any) -> None:
    with start() as server:
        assert wait_for(lambda: health(server), 30)
        processes = family(server)
        assert len(processes) >= 4
        server.process.kill()
        server.process.wait()
        assert wait_for(lambda: not alive(processes), 10), alive(processes)
        with pytest.raises(requests.ConnectionError):
            requests.get(server.url + "/health", timeout=5)


def test_ctrl_c_reaches_all_processes_and_still_drains(start: Any) -> None:
    """The accepted request even waits for the model to load."""
    with start() as server, ThreadPoolExecutor(1) as pool:
        assert wait_for(lambda: health(server), 30)
        accepted = pool.submit(server.post, "/process", SHORT)
        assert wait_for(lambda: in_flight(server) == 1, 10)
        os.killpg(server.process.pid, signal.SIGINT)
        assert accepted.result(timeout=60).status_code == 200
        assert server.process.wait(timeout=10) == 0
        assert "raceback" not in server.log.read_text()


@pytest.mark.parametrize("patience", ["second signal", "drain_s"])
def test_a_stop_that_waits_no_longer(start: Any, patience: str) -> None:
    with start(drain_s=60 if patience == "second signal" else 1) as server:
        with ThreadPoolExecutor(1) as pool:
            assert wait_for(lambda: health(server), 30)
            accepted = pool.submit(server.post, "/process", LONG)
            assert wait_for(lambda: in_flight(server) == 1, 10)
            processes = family(server)
            server.process.terminate()
            assert wait_for(lambda: health(server).get("status") == "draining", 5)
            if patience == "second signal":
                server.process.terminate()
            reply = accepted.result(timeout=10)
        assert reply.status_code == 503 and "Retry-After" in reply.headers
        assert "stopped before the answer was complete" in reply.json()["detail"]
        assert server.process.wait(timeout=10) == 0
        assert wait_for(lambda: not alive(processes), 5), alive(processes)


def trickle(server: Any) -> socket.socket:
    """An upload of which one byte has come."""
    upload = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = b"POST /process HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    upload.sendall(head + b"Content-Length: 100\r\n\r\n{")
    return upload


def status_of(upload: socket.socket) -> bytes:
    """The answer's first line."""
    with upload, upload.makefile("rb") as answer:
        return answer.readline().strip()


def test_uploads_that_do_not_end_hold_up_neither_requests_nor_a_stop(start: Any) -> None:
    with start(max_queue=2, body_s=600, drain_s=600) as server:
        server.wait_ready()
        uploads = [trickle(server) for _ in range(3)]
        assert server.post("/process", SHORT).status_code == 200
        server.process.terminate()
        assert server.process.wait(timeout=60) == 0
        assert [status_of(one)[:12] for one in uploads] == [b"HTTP/1.1 503"] * 3


def test_a_body_that_takes_too_long_gets_408(start: Any) -> None:
    with start(body_s=1.0) as server:
        assert wait_for(lambda: health(server), 60)
        assert status_of(trickle(server))[:12] == b"HTTP/1.1 408"
