"""The short form of ``python -m tests.contract.fuzz``."""

from collections.abc import Callable
from typing import Any

import requests
import schemathesis

from tests.contract.conftest import Client
from tests.contract.fuzz import MODES, ROUTES, fuzz


def test_no_case_of_the_document_breaks_the_server(clients: Callable[[str], Client]) -> None:
    client = clients("fuzzed")
    counts = fuzz(client.server.url, 900)
    assert counts.total() >= 900
    for route in ROUTES:
        for mode in MODES:
            assert sum(n for key, n in counts.items() if key[:2] == (route, mode.value)) >= 150
    assert counts["/process", "positive", 200] >= 140
    assert {status for _, _, status in counts} == {200, 422}


def test_routes_without_a_body(plain: Client) -> None:
    document: dict[str, Any] = requests.get(plain.server.url + "/openapi.json", timeout=10).json()
    schema = schemathesis.openapi.from_dict(document)
    for path, methods in document["paths"].items():
        if "get" in methods:
            schema[path]["GET"].Case().call_and_validate(base_url=plain.server.url)
