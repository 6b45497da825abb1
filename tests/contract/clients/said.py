"""What the scripts here share: what a call came to, as JSON for the test that started them.

They run in ``.venv-clients`` (``make clients``), where nothing of this repository is installed, so
they import nothing of it.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

#: As tests/contract/test_clients.py expects the answers.
PROMPT = "The capital of France is Paris."
QUESTION = "What is two plus two?"
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
#: More than any of the servers has room for.
LONG = "What is two plus two? " * 4000


def raised(call: Callable[[], Any]) -> list[str]:
    """The classes of the error that a call ends in, the nearest first; empty: it answered."""
    try:
        call()
    except Exception as error:
        return [kind.__name__ for kind in type(error).__mro__] + [str(error)[:400]]
    return []


def tell(found: dict[str, Any]) -> None:
    """Print what was found as the last line."""
    print(json.dumps(found))


def url() -> str:
    """The server's, with its /v1."""
    return sys.argv[1] + "/v1"
