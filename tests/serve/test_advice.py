"""What a client with a slightly wrong address, method or header is told."""

import pytest

from serve import advice


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/completions", "POST /v1/completions"),
        ("/chat/completions", "POST /v1/chat/completions"),
        ("/v1/v1/chat/completions", "POST /v1/chat/completions"),
        ("/v1/chat/completions//", "POST /v1/chat/completions"),
        ("/api/v1/models", "GET /v1/models"),
        ("/v1/health", "GET /health"),
        ("/v2/process", "POST /process"),
        ("/Process", "POST /process"),
    ],
)
def test_a_near_address_is_named(path: str, right: str) -> None:
    told = advice.for_address(path)
    assert path in told and f"but {right}" in told
    assert ("base_url" in told) == ("/v1/" in right)


def test_a_far_address_is_told_all() -> None:
    assert all(route in advice.for_address("/v1/embeddings") for route in advice.ROUTES)


def test_methods() -> None:
    assert advice.for_method("GET", "/process") == "/process takes POST, not GET"
    assert advice.for_method("PUT", "/v1/models/x") == "/v1/models/x takes no PUT"


def test_a_body_that_was_not_read_as_json() -> None:
    whole, part = {"loc": ["body"], "msg": "no"}, {"loc": ["body", "n"], "msg": "no"}
    assert advice.for_body("application/json; charset=utf-8", [whole]) == [whole]
    told, same = advice.for_body("text/plain", [whole, part])
    assert told["msg"] == "no; send Content-Type: application/json (it is text/plain)"
    assert same == part
    assert "there is none" in advice.for_body("", [whole])[0]["msg"]
