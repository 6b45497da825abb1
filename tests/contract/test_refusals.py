"""What is refused, and how: every status has a JSON body that says why."""

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.contract.conftest import Client, checked

JSON = {"Content-Type": "application/json"}


def send(client: Client, path: str, body: str | bytes, **headers: str) -> requests.Response:
    """POSTs bytes as they are."""
    return requests.post(client.server.url + path, data=body, headers=JSON | headers, timeout=30)


@pytest.mark.parametrize(
    ("path", "body", "loc"),
    [
        ("/process", "{}", ["prompt"]),
        ("/process", '{"prompt": null}', ["prompt"]),
        ("/process", '{"prompt": 5}', ["prompt"]),
        ("/process", '{"prompt": ["a"]}', ["prompt"]),
        ("/process", '{"prompt": "\\ud800"}', ["prompt"]),
        ("/process", '{"prompt": "x\\udfff\\ud83d"}', ["prompt"]),
        ("/process", '{"prompt": "x", "temperature": NaN}', ["temperature"]),
        ("/process", '{"prompt": "x", "temperature": Infinity}', ["temperature"]),
        ("/process", '{"prompt": "x", "temperature": 1e999}', ["temperature"]),
        ("/process", '{"prompt": "x", "temperature": -1}', ["temperature"]),
        ("/process", '{"prompt": "x", "temperature": "hot"}', ["temperature"]),
        ("/process", '{"prompt": "x", "top_p": 1.01}', ["top_p"]),
        ("/process", '{"prompt": "x", "top_p": NaN}', ["top_p"]),
        ("/process", '{"prompt": "x", "top_k": -2}', ["top_k"]),
        ("/process", '{"prompt": "x", "top_k": 1.5}', ["top_k"]),
        ("/process", '{"prompt": "x", "top_k_per_token": -1}', ["top_k_per_token"]),
        ("/process", '{"prompt": "x", "top_k_per_token": 1001}', ["top_k_per_token"]),
        ("/process", '{"prompt": "x", "max_new_tokens": -1}', ["max_new_tokens"]),
        ("/process", '{"prompt": "x", "max_new_tokens": 1e400}', ["max_new_tokens"]),
        ("/process", '{"prompt": "x", "num_samples": 0}', ["num_samples"]),
        ("/process", '{"prompt": "x", "num_samples": 129}', ["num_samples"]),
        ("/process", '{"prompt": "x", "num_return_sequences": 0}', ["num_return_sequences"]),
        ("/process", '{"prompt": "x", "seed": 18446744073709551616}', ["seed"]),
        ("/process", '{"prompt": "x", "seed": -9223372036854775809}', ["seed"]),
        ("/process", '{"prompt": "x", "stop_sequences": [""]}', ["stop_sequences", 0]),
        ("/process", '{"prompt": "x", "stop_sequences": "a"}', ["stop_sequences"]),
        ("/process", '{"prompt": "x", "stop_sequences": ["a", "\\ud800"]}', ["stop_sequences", 1]),
        ("/process", '{"prompt": "x", "echo_prompt": 2}', ["echo_prompt"]),
        ("/tokenize", "{}", ["text"]),
        ("/tokenize", '{"text": 5}', ["text"]),
        ("/tokenize", '{"text": "\\udc00"}', ["text"]),
        ("/tokenize", '{"text": "x", "max_length": -1}', ["max_length"]),
        ("/decode", "{}", ["tokens"]),
        ("/decode", '{"tokens": "12"}', ["tokens"]),
        ("/decode", '{"tokens": [1, -1]}', ["tokens", 1]),
        ("/decode", '{"tokens": [1.0]}', ["tokens", 0]),
        ("/decode", '{"tokens": [true]}', ["tokens", 0]),
    ],
)
def test_422_names_the_field(plain: Client, path: str, body: str, loc: list[str | int]) -> None:
    response = send(plain, path, body)
    assert response.status_code == 422
    (fault,) = response.json()["detail"]
    assert set(fault) == {"loc", "msg", "type"}
    assert fault["loc"] == ["body", *loc]


def test_all_faults_at_once(plain: Client) -> None:
    body = {"temperature": -1, "top_p": 2, "max_new_tokens": -1, "stop_sequences": ["", ""]}
    faults = plain.post("/process", body).json()["detail"]
    assert len(faults) == 6  # two of the stops, and the prompt that is missing


@pytest.mark.parametrize("path", ["/process", "/tokenize", "/decode"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b"\xff\xfe",
        b'{"prompt": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"prompt": ' + b"9" * 5000 + b"}",
        b"NaN",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_object_is_422(plain: Client, path: str, body: bytes) -> None:
    response = send(plain, path, body)
    assert response.status_code == 422
    assert all(fault["loc"][0] == "body" for fault in response.json()["detail"])


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
)
def test_another_content_type_is_422(plain: Client, kind: str) -> None:
    response = send(plain, "/process", '{"prompt": "x"}', **{"Content-Type": kind})
    assert response.status_code == 422


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/problem+json"])
def test_other_names_of_json_are_taken(plain: Client, kind: str) -> None:
    body = '{"prompt": "x", "max_new_tokens": 1}'
    checked(send(plain, "/process", body, **{"Content-Type": kind}))


def test_the_last_of_equal_keys_counts(plain: Client) -> None:
    body = '{"prompt": "a", "max_new_tokens": 9, "max_new_tokens": 0}'
    assert checked(send(plain, "/process", body))["tokens"] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/process", 405),
        ("PUT", "/tokenize", 405),
        ("DELETE", "/decode", 405),
        ("POST", "/health", 405),
        ("GET", "/nothing", 404),
        ("POST", "/process/x", 404),
    ],
)
def test_other_methods_and_paths(plain: Client, method: str, path: str, status: int) -> None:
    response = requests.request(method, plain.server.url + path, timeout=10)
    assert response.status_code == status
    assert isinstance(response.json()["detail"], str)


def test_a_refusal_is_no_longer_than_it_must_be(plain: Client) -> None:
    """The input is not sent back: prompts do not belong into logs of clients."""
    response = plain.post("/process", {"prompt": "secret " * 50, "temperature": -1})
    assert "secret" not in response.text


def test_one_connection_serves_refusals_and_answers(plain: Client) -> None:
    with requests.Session() as session:
        for body, status in [({}, 422), ({"prompt": "x", "max_new_tokens": 1}, 200)] * 3:
            url = plain.server.url + "/process"
            assert session.post(url, json=body, timeout=30).status_code == status
        pool = session.get_adapter(url).poolmanager.pools  # type: ignore[attr-defined]
        (key,) = pool.keys()
        assert pool[key].num_connections == 1


def test_chunked_bodies(plain: Client) -> None:
    parts = iter([b'{"prompt": "The', b' capital", "max_new', b'_tokens": 1}'])
    response = requests.post(plain.server.url + "/process", data=parts, headers=JSON, timeout=30)
    assert len(checked(response)["tokens"]) <= 1


def test_one_bad_among_fifteen_good(plain: Client) -> None:
    bodies: list[dict[str, Any]] = [
        {"prompt": f"The {i}", "temperature": 0, "max_new_tokens": 16} for i in range(15)
    ]
    bodies.insert(7, {"prompt": "x", "temperature": "NaN", "max_new_tokens": -5})
    with ThreadPoolExecutor(16) as pool:
        statuses = [r.status_code for r in pool.map(lambda b: plain.post("/process", b), bodies)]
    assert statuses == [200] * 7 + [422] + [200] * 8


def hang_up(client: Client, body: dict[str, Any], seconds: float) -> None:
    """Sends a request and closes the connection before its answer."""
    data = json.dumps(body).encode()
    head = f"POST /process HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n"
    with socket.create_connection(("127.0.0.1", client.server.port)) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + data)
        time.sleep(seconds)


def test_clients_that_hang_up_harm_nobody(plain: Client) -> None:
    alone = plain.process("The capital")
    for seconds in (0.0, 0.05, 0.3):
        hang_up(plain, {"prompt": "The", "max_new_tokens": 1500}, seconds)
    assert plain.process("The capital")["text"] == alone["text"]


def test_half_a_request_harms_nobody(plain: Client) -> None:
    with socket.create_connection(("127.0.0.1", plain.server.port)) as connection:
        connection.sendall(b"POST /process HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
        plain.process("The capital")


LONG = {"prompt": "The", "max_new_tokens": 8000, "temperature": 1}


def test_a_full_queue_is_503_with_retry_after(clients: Callable[[str], Client]) -> None:
    """The server takes two at a time; they run into their deadline of 3 seconds: 504."""
    client = clients("small")
    with ThreadPoolExecutor(2) as pool:
        start = time.monotonic()
        running = [pool.submit(client.post, "/process", LONG) for _ in range(2)]
        time.sleep(0.7)
        refused = client.post("/process", LONG)
        assert time.monotonic() - start < 2, "refused at once"
        assert client.tokenize("x"), "others than /process are not refused"
        late = [future.result() for future in running]
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert "2 requests" in refused.json()["detail"]
    assert [response.status_code for response in late] == [504, 504]
    assert all("3 s" in response.json()["detail"] for response in late)
    assert time.monotonic() - start < 8
    checked(client.post("/process", {"prompt": "The", "max_new_tokens": 1}))


def test_clients_that_hang_up_free_their_places(clients: Callable[[str], Client]) -> None:
    client = clients("small")
    for _ in range(2):
        hang_up(client, LONG, 0.2)
    time.sleep(1)
    checked(client.post("/process", {"prompt": "The", "max_new_tokens": 1}))


@pytest.mark.parametrize("path", ["/process", "/tokenize", "/decode"])
def test_a_body_over_the_limit_is_413(clients: Callable[[str], Client], path: str) -> None:
    client = clients("small")  # 20,000 bytes
    body = {"prompt": "x" * 20_001, "text": "x" * 20_001, "tokens": [1] * 20_001}
    response = client.post(path, body)
    assert response.status_code == 413
    assert "20000" in response.json()["detail"].replace(",", "")
    parts = iter([b'{"prompt": "', b"x" * 15_000, b"x" * 15_000, b'"}'])
    chunked = requests.post(client.server.url + path, data=parts, headers=JSON, timeout=10)
    assert chunked.status_code == 413


def test_a_body_just_within_the_limit(clients: Callable[[str], Client]) -> None:
    text = "x" * (20_000 - len('{"text": ""}'))
    body = json.dumps({"text": text})
    assert len(body) == 20_000
    assert send(clients("small"), "/tokenize", body).status_code == 200


def test_an_idle_server_stays_ready(clients: Callable[[str], Client]) -> None:
    """Longer idle than its deadline of 3 seconds, after something was answered."""
    client = clients("small")
    client.process("The")
    time.sleep(3.5)
    answer = requests.get(client.server.url + "/health", timeout=10)
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
