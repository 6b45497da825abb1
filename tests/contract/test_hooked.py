"""The contract, asked of causal families whose attention is hooked, biased or capped.

Bloom in every run (the rules name it); the others in ``make test-all``.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from serve.text import TextCodec
from tests.contract import test_process, test_together
from tests.contract.conftest import Client, Oracle
from tests.contract.servers import endless_tokenizer, together
from tests.contract.test_families import COMPARED, PLAIN
from tests.serve.engine.test_batching import HOOKED, plain_model, save

ALWAYS = ("bloom-6-heads",)
FAMILIES = (*ALWAYS, "falcon-new", "falcon-alibi", "mpt-6-heads", "gptj", "gpt_neo", "gemma2")
SERVED = FAMILIES if "ONEDAY_TEST_ALL" in os.environ else ALWAYS
#: Room for the longest prompts, in each family's words.
ROOM = {"bloom": {}, "mpt": {"max_seq_len": 2048}}
WIDE = {"max_position_embeddings": 2048}


def saved(family: str, folder: Path) -> Path:
    """The tiny model of a family, with its words."""
    kind, numbers = HOOKED[family]
    endless = {"eos_token_id": None}  # an answer that ends at once would show nothing
    save(folder, kind, numbers | ROOM.get(kind, WIDE) | endless)
    endless_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[Any, Any]]]:
    """``served(family)``: a client of its server, and its oracle; all start together."""
    root = tmp_path_factory.mktemp("hooked")
    with together(root, SERVED, saved) as servers:
        yield lambda family: (
            Client(servers[family]),
            Oracle(plain_model(root / family), TextCodec.load(root / family)),
        )


@pytest.fixture(scope="module", params=FAMILIES)
def asked(request: pytest.FixtureRequest, served: Any) -> tuple[Client, Any]:
    if request.param not in SERVED:
        pytest.skip("a slow one: make test-all asks it")
    pair: tuple[Client, Any] = served(request.param)
    return pair


def test_it_is_in_the_loop(asked: tuple[Client, Any]) -> None:
    health = requests.get(asked[0].server.url + "/health", timeout=10).json()
    assert health["model"]["engine"] == "transformers"


@pytest.mark.parametrize("check", PLAIN, ids=lambda check: check.__name__[5:])
def test_as_of_any_model(asked: tuple[Client, Any], check: Callable[[Client], None]) -> None:
    check(asked[0])


@pytest.mark.parametrize(
    "check",
    [
        *COMPARED,
        test_process.test_echo_puts_the_prompt_s_own_text_tokens_and_scores_first,
        test_process.test_scoring_generates_nothing,
    ],
    ids=lambda check: check.__name__[5:],
)
def test_as_the_model_says(asked: tuple[Client, Any], check: Any) -> None:
    check(*asked)


def test_thirty_at_once_are_answered_as_each_alone(asked: tuple[Client, Any]) -> None:
    test_together.test_thirty_at_once_are_answered_as_each_alone(asked[0])
