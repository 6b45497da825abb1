"""Real ``python -m serve`` processes, over HTTP. Fails loudly when LitServe's insides change."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from serve.contract import ProcessResponse, openapi_document

HELM_BODY = {
    "prompt": "Question: What is two plus two?\nA. 3\nB. 4\nAnswer:",
    "temperature": 1e-07,
    "num_return_sequences": 1,
    "max_new_tokens": 8,
    "top_p": 1,
    "echo_prompt": False,
    "top_k_per_token": 5,
    "stop_sequences": ["\n\n"],
}


@pytest.fixture(scope="module")
def server(
    model_dirs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, start_server: Any
) -> Iterator[Any]:
    """One server for the whole module; ``statuses`` are those of /health while it started."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "serve.json").write_text(json.dumps({"context": 8000, "deadline_s": 30}))
    running = start_server(
        model_dirs["endless"], folder / "log", "--config", str(folder / "serve.json")
    )
    with running:
        running.statuses = running.wait_ready()
        yield running


def process_ids(root: int) -> list[psutil.Process]:
    """The process and all its descendants."""
    main = psutil.Process(root)
    return [main, *main.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def checked(response: requests.Response) -> dict[str, Any]:
    """A 200 that follows the contract."""
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    ProcessResponse.model_validate(content, extra="forbid")
    return content


def test_health_says_loading_then_ready(server: Any) -> None:
    assert set(server.statuses[:-1]) == {503}, "503 while the model loads, seen at least once"
    state = requests.get(server.url + "/health", timeout=10).json()
    assert state["status"] == "ready"
    assert state["model"]["parameters"] > 0


def test_ready_line_has_url_and_example(server: Any) -> None:
    assert wait_for(lambda: "ready:" in server.log.read_text(), 5)
    assert f"curl {server.url}/process" in server.log.read_text()


def test_health_check_body_of_the_organizers(server: Any) -> None:
    content = checked(server.post("/process", {"prompt": "The capital of France is "}))
    assert len(content["tokens"]) == 50
    assert content["request_time"] > 0


def test_helm_body(server: Any) -> None:
    first, second = (checked(server.post("/process", HELM_BODY)) for _ in range(2))
    assert first["tokens"] == second["tokens"]
    assert len(first["tokens"]) <= 8


def test_request_id_is_in_header_and_log(server: Any) -> None:
    response = server.post("/process", HELM_BODY)
    request_id = response.headers["X-Request-Id"]
    assert wait_for(lambda: f"{request_id} 200" in server.log.read_text(), 5)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/process", "{}", "prompt"),
        ("/process", '{"prompt": "\\ud800"}', "prompt"),
        ("/process", '{"prompt": "x", "temperature": NaN}', "temperature"),
        ("/process", '{"prompt": "x", "max_new_tokens": -1}', "max_new_tokens"),
        ("/process", '{"prompt": "x", "seed": 100000000000000000000}', "seed"),
        ("/process", '{"prompt": "x", "stop_sequences": [""]}', "stop_sequences"),
        ("/process", '{"prompt": ', "body"),
        ("/process", "", "body"),
        ("/tokenize", '{"text": 5}', "text"),
        ("/decode", '{"tokens": [-1]}', "tokens"),
        ("/decode", '{"tokens": [5, 99999999999999999999]}', "tokens"),
    ],
)
def test_invalid_bodies_get_422_that_names_the_field(
    server: Any, path: str, body: str, field: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = requests.post(server.url + path, data=body, headers=headers, timeout=10)
    assert response.status_code == 422
    for fault in response.json()["detail"]:
        assert set(fault) == {"loc", "msg", "type"}
        assert field in fault["loc"]


@pytest.mark.parametrize(
    "text", ["", " leading", "Hello , world .", "\n\nA", "café 😀 <s>", "a" * 9000]
)
def test_tokenize_decode_round_trip(server: Any, text: str) -> None:
    tokens = server.post("/tokenize", {"text": text, "truncation": False, "max_length": 5}).json()
    assert set(tokens) == {"tokens", "request_time"}
    decoded = server.post("/decode", {"tokens": tokens["tokens"]}).json()
    assert decoded["text"] == text
    assert set(decoded) == {"text", "request_time"}
    cut = server.post("/tokenize", {"text": text, "truncation": True, "max_length": 2}).json()
    assert cut["tokens"] == tokens["tokens"][:2]


def test_concurrent_requests_get_their_own_answers(server: Any) -> None:
    prompts = ["The", "Question", "fine", "Rome", "Paris is"]
    bodies = [HELM_BODY | {"prompt": prompt, "echo_prompt": True} for prompt in prompts]
    alone = [checked(server.post("/process", body))["tokens"] for body in bodies]
    with ThreadPoolExecutor(5) as pool:
        together = [
            checked(r)["tokens"] for r in pool.map(lambda b: server.post("/process", b), bodies)
        ]
    assert together == alone


def test_tokenize_does_not_wait_behind_generation_and_a_lost_client_frees_the_engine(
    server: Any,
) -> None:
    """The request would run for minutes; its client hangs up."""
    body = json.dumps({"prompt": "The", "max_new_tokens": 7000}).encode()
    head = f"POST /process HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        time.sleep(0.5)
        start = time.monotonic()
        server.post("/tokenize", {"text": "quick"}, timeout=5)
        assert requests.get(server.url + "/health", timeout=10).status_code == 200
        assert time.monotonic() - start < 2
    start = time.monotonic()
    checked(server.post("/process", HELM_BODY, timeout=20))
    assert time.monotonic() - start < 4
    assert wait_for(lambda: "the client has gone" in server.log.read_text(), 5)


def test_served_document_is_the_contract(server: Any) -> None:
    served = requests.get(server.url + "/openapi.json", timeout=10).json()
    assert served == openapi_document()
    for path, methods in served["paths"].items():
        for method in methods:
            assert requests.request(method, server.url + path, timeout=10).status_code in (200, 422)


def test_second_server_on_the_port_says_so(
    server: Any, model_dirs: dict[str, Path], tmp_path: Path, start_server: Any
) -> None:
    with start_server(model_dirs["byte_level"], tmp_path / "log", port=server.port) as second:
        assert second.process.wait(timeout=30) == 2
        assert f"port {server.port} cannot be used" in second.log.read_text()
        assert "Traceback" not in second.log.read_text()


def test_a_model_that_cannot_be_loaded_ends_the_server(
    model_dirs: dict[str, Path], tmp_path: Path, start_server: Any
) -> None:
    for file in model_dirs["byte_level"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not a model")
    with start_server(tmp_path, tmp_path / "log") as broken:
        processes = process_ids(broken.process.pid)
        assert broken.process.wait(timeout=45) == 1
        assert "error: cannot load the model in" in broken.log.read_text()
        assert "Traceback" not in broken.log.read_text()
        assert wait_for(lambda: not alive(processes), 5)


def test_sigterm_while_starting(
    model_dirs: dict[str, Path], tmp_path: Path, start_server: Any
) -> None:
    """LitServe itself would leave its worker behind."""
    with start_server(model_dirs["byte_level"], tmp_path / "log") as starting:
        assert wait_for(lambda: len(process_ids(starting.process.pid)) >= 4, 30)
        processes = process_ids(starting.process.pid)
        os.kill(starting.process.pid, signal.SIGTERM)
        assert starting.process.wait(timeout=20) == 0
        assert wait_for(lambda: not alive(processes), 5), alive(processes)


def test_sigterm_ends_every_process(server: Any) -> None:
    """Last in this file, because it stops the server. A request is running meanwhile."""
    processes = process_ids(server.process.pid)
    assert len(processes) >= 4  # main, manager, worker, HTTP
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.post, "/process", {"prompt": "x", "max_new_tokens": 7000})
        time.sleep(0.5)
        os.kill(server.process.pid, signal.SIGTERM)
        try:
            assert server.process.wait(timeout=20) == 0
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running: {alive(processes)}")
        with contextlib.suppress(requests.RequestException):
            running.result(timeout=10)
    assert wait_for(lambda: not alive(processes), 5), alive(processes)
    assert "Traceback" not in server.log.read_text()
