"""The tokenizer in vLLM's words, on the text routes of a server whose worker is not started."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serve.app import build_server
from serve.config import ServeConfig
from serve.text import TextCodec


def client(folder: Path, **config: Any) -> TestClient:
    server = build_server(folder, TextCodec.load(folder), ServeConfig(**config), "cpu")
    return TestClient(server.app)


@pytest.fixture(scope="module")
def prepend(model_dirs: dict[str, Path]) -> TestClient:
    """Of a tokenizer that adds BOS."""
    return client(model_dirs["prepend"])


def ids(asked: TestClient, **body: Any) -> list[int]:
    found: list[int] = asked.post("/tokenize", json=body).json()["tokens"]
    return found


def test_tokenize_with_prompt(prepend: TestClient) -> None:
    bare = ids(prepend, prompt="a</s>", add_special_tokens=False)
    assert bare[-1] == 2 and ids(prepend, prompt="a</s>") == [1, *bare]
    answer = prepend.post("/tokenize", json={"prompt": "a"}).json()
    assert answer["count"] == len(answer["tokens"]) and "max_model_len" in answer
    ours = prepend.post("/tokenize", json={"text": "a</s>"}).json()
    assert set(ours) == {"tokens", "request_time"}
    assert 2 not in ours["tokens"], "to the contract special tokens are text"
    assert ids(prepend, text="a</s>", prompt="b") == ours["tokens"]


def test_detokenize_writes_special_tokens(prepend: TestClient) -> None:
    tokens = ids(prepend, prompt="a</s>")
    assert prepend.post("/detokenize", json={"tokens": tokens}).json() == {"prompt": "<s>a</s>"}
    assert prepend.post("/detokenize", json={"tokens": [10**9]}).status_code == 422


def test_tokenizer_info(prepend: TestClient) -> None:
    info = prepend.get("/tokenizer_info").json()
    assert (info["bos_token"], info["eos_token"], info["chat_template"]) == ("<s>", "</s>", None)


def test_ignored_fields_of_the_text_routes(prepend: TestClient) -> None:
    named = prepend.post("/tokenize", json={"text": "a", "max_len": 3})
    assert named.headers["X-Ignored-Fields"] == "max_len"
    assert "X-Ignored-Fields" not in prepend.post("/decode", json={"tokens": [5]}).headers


def test_cors_is_a_setting(model_dirs: dict[str, Path], prepend: TestClient) -> None:
    page = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    assert prepend.options("/process", headers=page).status_code == 405
    open_ = client(model_dirs["prepend"], cors=["https://page.example"])
    allowed = open_.options("/process", headers=page)
    assert allowed.headers["access-control-allow-origin"] == page["Origin"]
    other = open_.options("/process", headers=page | {"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in other.headers


def test_the_name_in_models(model_dirs: dict[str, Path], prepend: TestClient) -> None:
    assert prepend.get("/v1/models").json()["data"][0]["id"] == "prepend"
    named = client(model_dirs["prepend"], name="org/tiny")
    assert named.get("/v1/models").json()["data"][0]["id"] == "org/tiny"
    assert named.get("/v1/models/org/tiny").status_code == 200
