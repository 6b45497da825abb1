"""The wire contract: both vocabularies, the refusals, and the written document."""

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from serve.contract import (
    DecodeRequest,
    ProcessRequest,
    Token,
    TokenizeRequest,
    openapi_document,
    write_openapi,
)

ROOT = Path(__file__).parents[2]

HELM_BODY = {
    "prompt": "Question: 1+1?\nAnswer:",
    "temperature": 1e-07,
    "num_return_sequences": 1,
    "max_new_tokens": 1,
    "top_p": 1,
    "echo_prompt": False,
    "top_k_per_token": 5,
    "stop_sequences": [],
}

# The request models of the challenge's published document, field by field.
PUBLISHED = {
    "ProcessRequest": {
        "prompt": "string",
        "num_samples": "integer",
        "max_new_tokens": "integer",
        "top_k": "integer",
        "temperature": "number",
        "seed": "integer",
    },
    "TokenizeRequest": {"text": "string", "truncation": "boolean", "max_length": "integer"},
}


def test_openapi_file_is_the_contract(tmp_path: Path) -> None:
    write_openapi(tmp_path / "openapi.json")
    written = (tmp_path / "openapi.json").read_text()
    assert (ROOT / "openapi.json").read_text() == written, "run: python -m serve.contract"
    assert [path.name for path in tmp_path.iterdir()] == ["openapi.json"]


def test_operation_ids_and_fields_of_the_published_document() -> None:
    document = openapi_document()
    assert document["paths"]["/process"]["post"]["operationId"] == "process_request_process_post"
    assert document["paths"]["/tokenize"]["post"]["operationId"] == "tokenize_tokenize_post"
    for model, fields in PUBLISHED.items():
        ours = document["components"]["schemas"][model]
        assert ours["required"] == [next(iter(fields))]
        for name, kind in fields.items():
            assert kind in json.dumps(ours["properties"][name])


def test_published_document_agrees_with_this_table() -> None:
    path = ROOT.parent / "shared" / "data" / "open_api_spec.json"
    if not path.exists():
        pytest.skip(f"the published document is not at {path}")
    schemas = json.loads(path.read_text())["components"]["schemas"]
    for model, fields in PUBLISHED.items():
        properties = schemas[model]["properties"]
        assert {name: field["type"] for name, field in properties.items()} == fields


text = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None)  # a busy machine is not a fault
@given(
    st.fixed_dictionaries(
        {"prompt": text},
        optional={
            "num_samples": st.integers(1, 128),
            "max_new_tokens": st.integers(0, 10**6),
            "top_k": st.integers(-1, 10**6),
            "temperature": st.floats(0, 1e300) | st.integers(0, 2),
            "seed": st.integers(-(2**63), 2**64 - 1),
            "unknown": st.integers(),
        },
    )
)
def test_every_request_of_the_published_document_validates(body: dict[str, Any]) -> None:
    request = ProcessRequest.model_validate_json(json.dumps(body))
    for name, value in body.items():
        assert name == "unknown" or getattr(request, name) == value
    schema = openapi_document()["components"]["schemas"]["ProcessRequest"]
    jsonschema.validate(body, schema)


def test_helm_body() -> None:
    request = ProcessRequest.model_validate(HELM_BODY | {"num_return_sequences": 3})
    assert (request.num_samples, request.top_k_per_token, request.top_k) == (3, 5, 0)
    assert request.top_p == 1 and request.seed is None


def test_health_check_body_has_the_published_defaults() -> None:
    request = ProcessRequest.model_validate({"prompt": "The capital of France is "})
    assert (request.max_new_tokens, request.temperature) == (50, 0.8)
    assert request.top_k == 0, "HELM never sends top_k and must get the model's distribution"
    tokenize = TokenizeRequest.model_validate({"text": ""})
    assert (tokenize.truncation, tokenize.max_length) == (True, 2048)


def test_null_is_the_default() -> None:
    body = dict.fromkeys(ProcessRequest.model_fields) | {"prompt": "x"}
    assert ProcessRequest.model_validate(body) == ProcessRequest(prompt="x")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "\ud800"),
        ("prompt", 5),
        ("prompt", None),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", -0.1),
        ("top_p", 1.5),
        ("top_p", math.nan),
        ("max_new_tokens", -1),
        ("num_samples", 0),
        ("num_return_sequences", 0),
        ("top_k", -2),
        ("top_k_per_token", -1),
        ("stop_sequences", ["ok", ""]),
        ("stop_sequences", ["\udfff"]),
        ("stop_sequences", "\n"),
        ("seed", 2**64),
        ("seed", -(2**63) - 1),
    ],
)
def test_refusals_name_the_field(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ProcessRequest.model_validate({"prompt": "x", field: value})
    assert [fault["loc"][0] for fault in caught.value.errors()] == [field]


@pytest.mark.parametrize("ids", [[-1], [1.0], [True], ["1"], 5])
def test_decode_takes_lists_of_ids_only(ids: Any) -> None:
    with pytest.raises(ValidationError):
        DecodeRequest.model_validate({"tokens": ids})


@pytest.mark.parametrize("logprob", [math.nan, math.inf, -math.inf, 0.5])
def test_logprobs_are_finite_and_not_positive(logprob: float) -> None:
    with pytest.raises(ValidationError):
        Token(text="", logprob=logprob, top_logprob={})
