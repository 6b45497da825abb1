"""Shared servers, and a plain forward pass to compare their numbers with."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
import torch
from transformers import AutoModelForCausalLM

from serve.contract import ProcessResponse
from serve.text import Detokenizer, TextCodec
from tests.contract.servers import KINDS, launch
from tests.serve.conftest import RunningServer


@dataclass
class Client:
    """Asks one server, as HELM does: with requests, a new connection each time."""

    server: RunningServer

    def post(self, path: str, body: Any) -> requests.Response:
        """POSTs JSON."""
        return self.server.post(path, body)

    def process(self, prompt: str, **fields: Any) -> dict[str, Any]:
        """A greedy answer of at most 8 tokens, unless the fields say otherwise; checked."""
        body = {"prompt": prompt, "temperature": 0, "max_new_tokens": 8} | fields
        return checked(self.post("/process", body))

    def tokenize(self, text: str, **fields: Any) -> list[int]:
        """All token ids of a text."""
        answer = self.post("/tokenize", {"text": text, "truncation": False} | fields)
        assert answer.status_code == 200, answer.text
        tokens: list[int] = answer.json()["tokens"]
        return tokens

    def decode(self, tokens: list[int]) -> str:
        """Their text."""
        answer = self.post("/decode", {"tokens": tokens})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["text"])


def checked(response: requests.Response) -> dict[str, Any]:
    """An answer that follows the contract and whose parts agree with each other."""
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    ProcessResponse.model_validate(content, extra="forbid")
    for completion in (content, *(content.get("completions") or ())):
        tokens = completion["tokens"]
        assert "".join(token["text"] for token in tokens) == completion["text"]
        total = sum(token["logprob"] for token in tokens)
        assert completion["logprob"] == pytest.approx(total, abs=1e-6)
        assert all(value <= 0 for token in tokens for value in token["top_logprob"].values())
    return content


def assert_same(
    one: list[dict[str, Any]], other: list[dict[str, Any]], tolerance: float = 1e-4
) -> None:
    """Two lists of tokens are the same but for the rounding that batches bring.

    Candidates whose scores are nearer than that may change places, so only their scores count.
    """
    assert [token["text"] for token in one] == [token["text"] for token in other]
    for a, b in zip(one, other, strict=True):
        assert a["logprob"] == pytest.approx(b["logprob"], abs=tolerance)
        best, same = (list(token["top_logprob"].values()) for token in (a, b))
        assert best[:1] == pytest.approx(same[:1], abs=tolerance)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models and logs are."""
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="session")
def clients(root: Path) -> Iterator[Callable[[str], Client]]:
    """``clients(kind)``; all servers start together, when the first client is asked for."""
    with ExitStack() as running:
        servers = {kind: running.enter_context(launch(kind, root)) for kind in KINDS}
        for server in servers.values():
            server.wait_ready(120)
        yield lambda kind: Client(servers[kind])


@pytest.fixture(params=["byte_level", "prepend", "metaspace"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of tokenizer in turn."""
    return str(request.param)


@pytest.fixture
def client(clients: Callable[[str], Client], kind: str) -> Client:
    """A client of the server of that kind."""
    return clients(kind)


@pytest.fixture
def plain(clients: Callable[[str], Client]) -> Client:
    """A client of the byte-level server, where the kind of tokenizer makes no difference."""
    return clients("byte_level")


@dataclass
class Oracle:
    """The same model by transformers alone: one request, no batch, no cache kept."""

    model: Any
    text: TextCodec
    barred: ClassVar[frozenset[str]] = frozenset()  # candidates by name that no answer may have

    @torch.inference_mode()
    def logprobs(self, ids: list[int]) -> torch.Tensor:
        """``[len(ids), vocabulary]``: after each token, of the next."""
        rows = self.model(torch.tensor([ids], device=self.model.device)).logits[0]
        return rows.float().log_softmax(-1)

    def scores(self, ids: list[int], start: int) -> list[float]:
        """Of ``ids[start:]``, each by the tokens before it; ``start`` is at least 1."""
        rows = self.logprobs(ids)[start - 1 : -1]
        return [float(row[token]) for row, token in zip(rows, ids[start:], strict=True)]

    @torch.inference_mode()
    def greedy(self, prompt: str, new: int) -> list[int]:
        """The ids that ``generate`` gives, without EOS."""
        prompt_ids = list(self.text.encode_prompt(prompt).ids)
        ids = torch.tensor([prompt_ids], device=self.model.device)
        made = self.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False,
            pad_token_id=0,
        )[0, ids.shape[1] :].tolist()  # fmt: skip
        return [token for token in made if token != self.text.eos_id]

    def pieces(self, ids: list[int]) -> list[str]:
        """Texts of new tokens; the last has what is left of a split character."""
        detokenizer = Detokenizer(self.text, at_start=False)
        texts = [detokenizer.push(token) for token in ids]
        if texts:
            texts[-1] += detokenizer.flush()
        return texts


@pytest.fixture(scope="session")
def oracles(root: Path, clients: Callable[[str], Client]) -> Callable[[str], Oracle]:
    """``oracles(kind)``: the model of that server."""
    made: dict[str, Oracle] = {}

    def load(kind: str) -> Oracle:
        if kind not in made:
            model = AutoModelForCausalLM.from_pretrained(root / kind, dtype=torch.float32).eval()
            made[kind] = Oracle(model, TextCodec.load(root / kind))
        return made[kind]

    return load


@pytest.fixture
def oracle(oracles: Callable[[str], Oracle], kind: str) -> Oracle:
    """The model of the server of that kind."""
    return oracles(kind)
