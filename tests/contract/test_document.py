"""The OpenAPI documents: ours is what is served, and clients of the published one work."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import requests

from serve.contract import openapi_document
from tests.contract.conftest import Client

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT.parent / "shared" / "data" / "open_api_spec.json"


def served(client: Client) -> dict[str, Any]:
    """The document at /openapi.json."""
    document: dict[str, Any] = requests.get(client.server.url + "/openapi.json", timeout=10).json()
    return document


def test_served_committed_and_made_documents_are_the_same(plain: Client) -> None:
    committed = json.loads((ROOT / "openapi.json").read_text(encoding="utf-8"))
    assert served(plain) == committed == openapi_document()


def test_operation_ids_are_the_published_ones(plain: Client) -> None:
    paths = served(plain)["paths"]
    assert paths["/process"]["post"]["operationId"] == "process_request_process_post"
    assert paths["/tokenize"]["post"]["operationId"] == "tokenize_tokenize_post"
    assert set(paths) >= {"/process", "/tokenize", "/decode", "/health"}


def test_every_status_that_can_come_is_documented(plain: Client) -> None:
    responses = {
        path: set(methods["post"]["responses"])
        for path, methods in served(plain)["paths"].items()
        if "post" in methods
    }
    assert responses["/process"] == {"200", "408", "413", "422", "500", "503", "504"}
    assert responses["/tokenize"] >= {"200", "413", "422"}
    assert responses["/decode"] >= {"200", "413", "422"}


def schema(client: Client, path: str, status: str) -> dict[str, Any]:
    """The JSON schema of an answer, with all it refers to."""
    document = served(client)
    content = document["paths"][path]["post"]["responses"][status]["content"]
    found: dict[str, Any] = content["application/json"]["schema"]
    return found | {"components": document["components"]}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/process", {"prompt": "The", "num_samples": 2, "max_new_tokens": 3}, "200"),
        ("/process", {"prompt": "The", "echo_prompt": True, "top_k_per_token": 9}, "200"),
        ("/process", {"prompt": 5, "seed": 2**70}, "422"),
        ("/tokenize", {"text": "The"}, "200"),
        ("/tokenize", {}, "422"),
        ("/decode", {"tokens": [5]}, "200"),
        ("/decode", {"tokens": [10**9]}, "422"),
    ],
)
def test_answers_follow_their_schemas(
    plain: Client, path: str, body: dict[str, Any], status: str
) -> None:
    response = plain.post(path, body)
    assert str(response.status_code) == status
    jsonschema.validate(response.json(), schema(plain, path, status))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The Python client that openapi-python-client makes of the published document."""
    if not PUBLISHED.exists():
        pytest.skip(f"the published document is not at {PUBLISHED}")
    folder = tmp_path_factory.mktemp("generated") / "client"
    config = folder.parent / "config.yaml"
    config.write_text("post_hooks: []\n")
    command = [
        *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
        *("--path", str(PUBLISHED), "--output-path", str(folder), "--config", str(config)),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    spec = importlib.util.spec_from_file_location("published", folder / "__init__.py")
    assert spec and spec.loader
    module = sys.modules["published"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == "published"]:
        del sys.modules[name]


def call(generated: ModuleType, client: Client, operation: str, body: Any) -> Any:
    """Calls an operation of the generated client; gives its detailed answer."""
    module = importlib.import_module(f"published.api.default.{operation}")
    connection = generated.Client(base_url=client.server.url, timeout=60)
    return module.sync_detailed(client=connection, body=body)


def test_a_client_of_the_published_document_generates(
    generated: ModuleType, client: Client
) -> None:
    models = importlib.import_module("published.models")
    body = models.ProcessRequest(prompt="The capital of France is ", seed=1, num_samples=2)
    assert body.to_dict()["top_k"] == 200, "the published defaults are sent"
    answer = call(generated, client, "process_request_process_post", body)
    assert answer.status_code == 200
    content = json.loads(answer.content)
    assert set(content) >= {"text", "tokens", "logprob", "request_time"}
    assert len(content["completions"]) == 2


def test_a_client_of_the_published_document_tokenizes(
    generated: ModuleType, client: Client
) -> None:
    models = importlib.import_module("published.models")
    answer = call(
        generated, client, "tokenize_tokenize_post", models.TokenizeRequest(text="The capital")
    )
    assert json.loads(answer.content)["tokens"] == client.tokenize("The capital")


def test_a_client_of_the_published_document_reads_refusals(
    generated: ModuleType, plain: Client
) -> None:
    models = importlib.import_module("published.models")
    body = models.ProcessRequest(prompt="x", max_new_tokens=-1)
    answer = call(generated, plain, "process_request_process_post", body)
    assert answer.status_code == 422
    (fault,) = answer.parsed.detail
    assert (fault.loc, fault.type_) == (["body", "max_new_tokens"], "greater_than_equal")
