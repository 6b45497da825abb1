"""Real ``python -m serve`` processes, over HTTP. Fails loudly when LitServe's insides change."""

import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import litserve
import litserve.server
import psutil
import pytest
import requests
from litserve.specs.base import LitSpec
from litserve.utils import ResponseBufferItem

from serve.contract import ProcessResponse, openapi_document
from serve.supervisor import Server

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
    config = {"context": 8000, "deadline_s": 60, "max_queue": 24, "max_body": 100_000}
    (folder / "serve.json").write_text(json.dumps(config))
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


def log_lines(server: Any) -> list[dict[str, Any]]:
    """The JSON objects in the log."""
    lines = server.log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def metric(server: Any, name: str) -> float:
    """One value of /metrics."""
    text = requests.get(server.url + "/metrics", timeout=10).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"no {name} in {text}"
    return float(found[1])


def health(server: Any) -> dict[str, Any]:
    """What /health says."""
    state: dict[str, Any] = requests.get(server.url + "/health", timeout=10).json()
    return state


def checked(response: requests.Response) -> dict[str, Any]:
    """A 200 that follows the contract."""
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    ProcessResponse.model_validate(content, extra="forbid")
    return content


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """The same answer, up to what other rows in the batch do to the last float32 digits."""
    texts, logprobs = (
        [[token[key] for token in answer["tokens"]] for answer in (one, other)]
        for key in ("text", "logprob")
    )
    return texts[0] == texts[1] and logprobs[0] == pytest.approx(logprobs[1], abs=1e-4)


def test_litserve_is_the_one_this_code_was_written_for() -> None:
    """Undocumented parts that serve.app and serve.supervisor use; else this file's tests hang."""
    spec = LitSpec()
    assert {"request_queue", "response_buffer", "response_queue_id"} <= vars(spec).keys()
    assert {"event", "response"} <= set(inspect.signature(ResponseBufferItem).parameters)
    overridden = ["_start_worker_monitoring", "verify_worker_status", "lifespan"]
    for name in [*overridden, "launch_single_inference_worker"]:
        ours, theirs = (inspect.signature(getattr(c, name)) for c in (Server, litserve.LitServer))
        assert list(ours.parameters) == list(theirs.parameters)
    source = inspect.getsource(litserve.LitServer.run)
    for used in (*overridden[:2], "self.inference_workers", "self._shutdown_event.wait()"):
        assert used in source
    assert "uvicorn_graceful_timeout" in inspect.getsource(litserve.server)


def test_the_http_process_imports_no_torch() -> None:
    code = (
        "import sys, serve.app, serve.__main__; print({'torch', 'transformers'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


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
    assert alike(first, second)
    assert len(first["tokens"]) <= 8


def test_request_id_is_in_header_and_log(server: Any) -> None:
    headers = {"X-Request-Id": "mine-1"}
    first = requests.post(server.url + "/process", json=HELM_BODY, headers=headers, timeout=60)
    assert first.headers["X-Request-Id"] == "mine-1"
    made = server.post("/process", HELM_BODY).headers["X-Request-Id"]

    def answered() -> list[dict[str, Any]]:
        return [line for line in log_lines(server) if line.get("id") in ("mine-1", made)]

    assert wait_for(lambda: len(answered()) == 2, 5)
    for line in answered():
        assert (line["message"], line["status"], line["logger"]) == (
            "answered",
            200,
            "serve.worker",
        )
        assert 0 < line["new_tokens"] <= 8 and line["finish"] in ("length", "stop", "eos")
        assert line["prompt_tokens"] > 10 and line["seconds"] > 0
    assert "two plus two" not in server.log.read_text()


def test_a_failure_has_its_id_too(server: Any) -> None:
    refused = server.post("/process", {"prompt": 5})
    assert refused.status_code == 422
    request_id = refused.headers["X-Request-Id"]
    [line] = [line for line in log_lines(server) if line.get("id") == request_id]
    assert (line["message"], line["status"]) == ("failed", 422)
    assert "prompt" in str(line["detail"])


def test_one_id_for_two_requests_at_once(server: Any) -> None:
    def post(prompt: str) -> str:
        body = HELM_BODY | {"prompt": prompt, "echo_prompt": True, "max_new_tokens": 60}
        headers = {"X-Request-Id": "twin"}
        reply = requests.post(server.url + "/process", json=body, headers=headers, timeout=60)
        return str(checked(reply)["text"])

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(post, ["The", "Question"])
    assert first.startswith("The") and second.startswith("Question")


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
        ("/process", b'{"prompt": "\xff"}', "body"),
        ("/process", "[" * 50_000, "body"),
        ("/tokenize", '{"text": 5}', "text"),
        ("/decode", '{"tokens": [-1]}', "tokens"),
        ("/decode", '{"tokens": [5, 99999999999999999999]}', "tokens"),
    ],
)
def test_invalid_bodies_get_422_that_names_the_field(
    server: Any, path: str, body: str | bytes, field: str
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
    alone = [checked(server.post("/process", body)) for body in bodies]
    with ThreadPoolExecutor(5) as pool:
        together = [checked(r) for r in pool.map(lambda b: server.post("/process", b), bodies)]
    assert all(map(alike, together, alone))


def test_a_body_over_the_limit_gets_413_with_figures(server: Any) -> None:
    body = json.dumps({"prompt": "x" * 3_000_000}).encode()
    headers = {"Content-Type": "application/json"}
    for data in (body, iter([body[:60_000], body[60_000:]])):  # with and without Content-Length
        reply = requests.post(server.url + "/process", data=data, headers=headers, timeout=30)
        assert reply.status_code == 413
        assert "at most 100000 are taken (max_body)" in reply.json()["detail"]
        assert reply.headers["X-Request-Id"]


def test_more_requests_than_the_queue_holds(server: Any) -> None:
    body = {"prompt": "The", "max_new_tokens": 300, "temperature": 0}
    with ThreadPoolExecutor(40) as pool:
        replies = list(pool.map(lambda _: server.post("/process", body), range(40)))
    refused = [reply for reply in replies if reply.status_code == 503]
    assert {reply.status_code for reply in replies} == {200, 503}
    assert len(replies) - len(refused) >= 24
    for reply in refused:
        assert int(reply.headers["Retry-After"]) > 0 and reply.headers["X-Request-Id"]
        assert "24 requests are in flight" in reply.json()["detail"]
    assert metric(server, 'oneday_rejections_total{reason="full"}') == len(refused)
    assert metric(server, "oneday_in_flight") == 0


def test_metrics(server: Any) -> None:
    before = metric(server, "oneday_new_tokens_total")
    count = 'oneday_requests_total{route="/process",status="200"}'
    requests_before = metric(server, count)
    checked(server.post("/process", {"prompt": "The", "max_new_tokens": 11}))
    assert metric(server, "oneday_new_tokens_total") == before + 11
    assert metric(server, count) == requests_before + 1
    assert metric(server, "oneday_worker_memory_bytes") > 50_000_000
    assert metric(server, "oneday_ready") == 1
    assert wait_for(lambda: metric(server, "oneday_tokens_per_second") > 0, 5)
    reply = requests.get(server.url + "/metrics", timeout=10)
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_tokenize_does_not_wait_behind_generation_and_a_lost_client_frees_the_engine(
    server: Any,
) -> None:
    """The request would run for minutes; its client hangs up."""
    body = json.dumps({"prompt": "The", "max_new_tokens": 7000}).encode()
    head = f"POST /process HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        assert wait_for(lambda: metric(server, "oneday_running") == 1, 10)
        start = time.monotonic()
        server.post("/tokenize", {"text": "quick"}, timeout=5)
        assert requests.get(server.url + "/health", timeout=10).status_code == 200
        assert time.monotonic() - start < 2
    assert wait_for(lambda: metric(server, "oneday_running") == 0, 1), "the slot is free in 1 s"
    assert metric(server, "oneday_in_flight") == 0
    gone = [line for line in log_lines(server) if line.get("status") == 499]
    assert [line["detail"] for line in gone] == ["the client has gone"]


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


def test_sigterm_loses_no_accepted_request(server: Any) -> None:
    """Last in this file, because it stops the server. 20 requests are running meanwhile."""
    processes = process_ids(server.process.pid)
    assert len(processes) >= 4  # main, manager, worker, HTTP
    bodies = [{"prompt": "x", "max_new_tokens": 100 + 50 * i} for i in range(20)]
    with ThreadPoolExecutor(20) as pool:
        running = [pool.submit(server.post, "/process", body) for body in bodies]
        assert wait_for(lambda: metric(server, "oneday_in_flight") == 20, 10)
        os.kill(server.process.pid, signal.SIGTERM)
        assert wait_for(lambda: health(server)["status"] == "draining", 5)
        refused = server.post("/process", {"prompt": "late"})
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        for body, future in zip(bodies, running, strict=True):
            assert len(checked(future.result(timeout=60))["tokens"]) == body["max_new_tokens"]
    try:
        assert server.process.wait(timeout=10) == 0
    except subprocess.TimeoutExpired:
        pytest.fail(f"still running: {alive(processes)}")
    assert wait_for(lambda: not alive(processes), 5), alive(processes)
    assert "raceback" not in server.log.read_text()
