"""Each check passes on the real worker and fails on what it is there for."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.tools.rehearse.local import LocalContainer
from tools.rehearse import checks
from tools.rehearse.checks import Failed

GOOD = {"text": "x", "tokens": [], "logprob": 0.0, "finish_reason": "eos", "request_time": 0.1,
        "truncated_tokens": 0}  # fmt: skip


@pytest.fixture(scope="module")
def container(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalContainer]:
    folder = tmp_path_factory.mktemp("container")
    found = LocalContainer(folder, folder / "log", "--model", str(tiny_model))
    yield found
    found.remove()


def test_a_worker_passes(container: LocalContainer) -> None:
    assert "ready" in checks.becomes_ready(container, 120)
    assert "as in openapi.json" in checks.contract(container.url)
    assert "120 answers" in checks.together(container.url)
    assert "all answered; exit code 0" in checks.drains(container)
    container.start()
    assert "first answer after" in checks.becomes_ready(container, 120)


class Stub:
    """A container that answers as it is told; its process never ends unless it is told so."""

    def __init__(self, answer: Callable[[str, Any], tuple[int, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                status, value = answer(self.path, json.loads(self.rfile.read(length) or b"null"))
                body = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *words: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.there, self.code = True, 0

    def running(self) -> bool:
        return self.there

    def start(self) -> None:
        self.there = True

    def stop(self, seconds: float) -> int:
        return self.code

    def logs(self) -> str:
        return "first line\nerror: no such model"

    def remove(self) -> None:
        self.server.shutdown()


def healthy(path: str, body: Any) -> tuple[int, Any]:
    return (200, {"status": "ready"}) if path == "/health" else (200, GOOD)


def test_one_that_ends_by_itself_fails_with_its_words() -> None:
    stub = Stub(healthy)
    stub.there = False
    with pytest.raises(Failed, match="ended by itself:\nfirst line\nerror: no such model"):
        checks.becomes_ready(stub, 5)


def test_one_that_never_gets_ready_fails() -> None:
    with pytest.raises(Failed, match="/health: loading"):
        checks.becomes_ready(Stub(lambda path, body: (503, {"status": "loading"})), 0.5)


@pytest.mark.parametrize(
    ("status", "value", "said"),
    [
        (200, {"status": "loading"}, "says loading with HTTP 200"),
        (503, {"status": "ready"}, "says ready with HTTP 503"),
        (200, {"status": "fine"}, "not as in openapi.json"),
        (200, b"OK", "not as in openapi.json"),
    ],
)
def test_a_health_that_lies_fails(status: int, value: Any, said: str) -> None:
    with pytest.raises(Failed, match=said):
        checks.becomes_ready(Stub(lambda path, body: (status, value)), 5)


@pytest.mark.parametrize(
    ("status", "value", "said"),
    [(404, {}, "HTTP 404"), (200, {"text": "x"}, "not as in openapi.json"), (200, b"x", "not as")],
)
def test_the_organizers_question_must_be_answered_by_the_contract(
    status: int, value: Any, said: str
) -> None:
    def answer(path: str, body: Any) -> tuple[int, Any]:
        return healthy(path, body) if path == "/health" else (status, value)

    with pytest.raises(Failed, match=said):
        checks.becomes_ready(Stub(answer), 5)


def test_a_round_trip_that_loses_a_space_fails() -> None:
    def answer(path: str, body: Any) -> tuple[int, Any]:
        if path == "/tokenize":
            return 200, {"tokens": [1], "request_time": 0}
        return 200, {"text": "Hello , world .\n", "request_time": 0}

    with pytest.raises(Failed, match="became 'Hello , world"):
        checks.contract(Stub(answer).url)


def test_one_refused_of_thirty_fails() -> None:
    seen = iter(range(1000))
    stub = Stub(lambda path, body: (503 if next(seen) == 70 else 200, GOOD))
    with pytest.raises(Failed, match="HTTP 503"):
        checks.together(stub.url)


def test_a_lost_request_and_a_wrong_exit_code_fail() -> None:
    lost = Stub(
        lambda path, body: (200, b"oneday_in_flight 30") if path == "/metrics" else (503, {})
    )
    with pytest.raises(Failed, match="30 of 30 accepted requests were lost"):
        checks.drains(lost)
    killed = Stub(lambda path, body: (200, b"oneday_in_flight 30" if path == "/metrics" else GOOD))
    killed.code = 137
    with pytest.raises(Failed, match="exit code 137"):
        checks.drains(killed)


def test_a_folder_has_one_dockerfile_and_a_name(tmp_path: Path) -> None:
    good = tmp_path / "submission-x"
    good.mkdir()
    with pytest.raises(Failed, match="0 files are named"):
        checks.folder(good)
    (good / "Dockerfile").write_text("FROM x\n")
    assert checks.folder(good) == "one Dockerfile, 0.00 MB"
    (good / "sub").mkdir()
    (good / "sub" / "dockerfile.txt").write_text("")
    with pytest.raises(Failed, match="2 files are named"):
        checks.folder(good)
    spaced = tmp_path / "my submission"
    spaced.mkdir()
    (spaced / "Dockerfile").write_text("FROM x\n")
    with pytest.raises(Failed, match="makes no image name"):
        checks.folder(spaced)
