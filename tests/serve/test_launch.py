"""The image's start: weights first, then the worker behind one door; told when it cannot."""

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from serve.fetch import KNOWN, Progress
from serve.healthy import healthy
from serve.launch import loading, open_door
from serve.startup import StartError
from tests.serve.conftest import byte_level_tokenizer, save_model
from tests.serve.test_fetch import Origin

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Launched:
    """The program in a folder of its own, as in the image."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        env = {**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1"}
        command = [sys.executable, "-m", "serve.launch", "--port", str(self.port), *options]
        self.process = subprocess.Popen(
            command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def wait(self, status: str, seconds: float = 120) -> dict[str, Any]:
        """/health, once it says so."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, self.process.communicate()
            try:
                answer: dict[str, Any] = requests.get(f"{self.url}/health", timeout=10).json()
            except requests.ConnectionError:
                answer = {}
            if answer.get("status") == status:
                return answer
            time.sleep(0.05)
        raise AssertionError(f"not {status} after {seconds} s")

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[list[Launched]]:
    found: list[Launched] = []
    yield found
    for one in found:
        one.process.kill()
        one.process.communicate()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("launch") / "model", byte_level_tokenizer())


@pytest.fixture
def published(model: Path) -> Iterator[Origin]:
    """That model at an address."""
    origin = Origin()
    origin.files = {path.name: path.read_bytes() for path in model.iterdir()}
    yield origin
    origin.close()


def write_reference(folder: Path, origin: Origin) -> None:
    files = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in origin.files.items()
    }
    reference = {"source": "url", "url": origin.url, "files": files}
    (folder / "weights.json").write_text(json.dumps(reference))


def test_weights_are_fetched_served_and_drained(
    published: Origin, launched: list[Launched], tmp_path: Path
) -> None:
    write_reference(tmp_path, published)
    (tmp_path / "serve.json").write_text('{"context": 512, "host": "0.0.0.0"}')
    launched.append(one := Launched(tmp_path))
    one.wait("ready")
    body = {"prompt": "The capital of France is "}
    reply = requests.post(f"{one.url}/process", json=body, timeout=60)
    assert reply.status_code == 200 and reply.json()["tokens"]
    assert healthy(one.port)
    one.process.send_signal(signal.SIGTERM)
    assert one.end()[0] == 0
    asked = len(published.asked)
    published.close()
    launched.append(again := Launched(tmp_path))  # offline
    again.wait("ready")
    assert len(published.asked) == asked and (tmp_path / "model" / KNOWN).is_file()


def test_while_weights_come_only_health_answers(
    published: Origin, launched: list[Launched], tmp_path: Path
) -> None:
    def hang(request: Any, content: bytes) -> bool:
        time.sleep(20)
        return True

    write_reference(tmp_path, published)
    published.faults = [hang] * 20
    launched.append(one := Launched(tmp_path))
    answer = one.wait("loading")
    assert answer["reason"].startswith("the weights are fetched: 0.00 of 0.00 GB")
    assert not healthy(one.port)
    with pytest.raises(requests.ConnectionError):
        requests.post(f"{one.url}/process", json={"prompt": "x"}, timeout=10)
    one.process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert one.end()[0] == 0 and time.monotonic() - started < 10


def test_weights_that_cannot_be_had_end_it(launched: list[Launched], tmp_path: Path) -> None:
    origin = Origin()
    write_reference(tmp_path, origin)
    origin.files.clear()
    launched.append(one := Launched(tmp_path))
    code, _, said = one.end()
    origin.close()
    assert code == 1 and said.count("HTTP 404") == 3 and "Traceback" not in said


def test_a_mounted_model_needs_no_reference(
    model: Path, launched: list[Launched], tmp_path: Path
) -> None:
    launched.append(one := Launched(tmp_path, "--model", str(model)))
    one.wait("ready")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("none", "", "model: no such folder"),
        ("serve.json", '{"contxt": 1}', "did you mean 'context'?"),
        ("weights.json", "{}", "weights.json: damaged"),
    ],
)
def test_what_is_wrong_is_said(
    file: str, text: str, said: str, launched: list[Launched], tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text)
    launched.append(one := Launched(tmp_path))
    code, _, errors = one.end()
    assert code in (1, 2) and said in errors and "Traceback" not in errors


def test_a_taken_port_is_said() -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        with pytest.raises(StartError, match="choose another one with --port"):
            open_door(other.getsockname()[1])


def test_a_port_of_the_system_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, address: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(StartError, match="ip_unprivileged_port_start=0"):
        open_door(80)


def test_the_door_stays_open_after_the_waiting() -> None:
    door = open_door(free_port())
    port = door.getsockname()[1]
    with loading(door, Progress(10)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["status"]) == (503, "loading")
        connection.close()
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        accepted, _ = door.accept()
        accepted.close()
    door.close()


def test_nobody_there_is_not_healthy() -> None:
    assert not healthy(free_port())
