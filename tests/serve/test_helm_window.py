"""HELM's own window service and client, before the endpoints of models that drop line ends.

Before a zero-shot prompt is sent it goes through /tokenize and /decode; what comes back shorter is
sent instead. Real are HELM's code, both routes and the worker; the engine answers at once.
"""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Response

from serve.app import _add_text_routes
from serve.contract import ProcessRequest
from serve.engine.base import GenResult, GenToken
from serve.text import TextCodec
from serve.worker import Job
from tests.serve.conftest import free_port
from tests.serve.kinds import LOSSY, load, prompts
from tests.serve.test_worker import FakeEngine, worker
from tools.evaluate import stage as evaluate

SIDE = Path(__file__).with_name("helm_zero_shot.py")


class Endpoints:
    """The text routes of a tokenizer, and a worker whose engine says a letter.

    Attributes:
        app: all of them.
        arrived: prompts at /process.
        read: what the engine was given to read.
    """

    def __init__(self, text: TextCodec) -> None:
        token = GenToken(5, " a", -1.0, ((" a", -1.0),))
        engine = FakeEngine(text, GenResult((token,), "length"))
        engine.info = SimpleNamespace(context=2048)  # type: ignore[assignment]
        self.app, self.read = FastAPI(), engine.requests
        self.arrived: list[str] = []
        _add_text_routes(self.app, text, SimpleNamespace(context=2048))  # type: ignore[arg-type]
        built = worker(engine)

        @self.app.post("/process", response_model=None)
        async def process(body: ProcessRequest) -> Response | None:
            self.arrived.append(body.prompt)
            return await built.predict(Job("j", body, time.monotonic(), "r"))


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextCodec]:
    root = tmp_path_factory.mktemp("kinds")
    return {kind: load(kind, root) for kind in LOSSY}


@pytest.fixture(scope="module")
def served(codecs: dict[str, TextCodec]) -> Iterator[tuple[str, dict[str, Endpoints]]]:
    """The address, below which each kind has its own endpoints, and these."""
    made = {kind: Endpoints(codec) for kind, codec in codecs.items()}
    app = FastAPI()
    for kind, endpoints in made.items():
        app.mount(f"/{kind}", endpoints.app)
    server = uvicorn.Server(uvicorn.Config(app, port=(port := free_port()), log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}", made
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("kind", LOSSY)
def test_prompts_arrive_unchanged(
    served: tuple[str, dict[str, Endpoints]], codecs: dict[str, TextCodec], kind: str
) -> None:
    url, made = served
    texts = prompts(290 if kind == LOSSY[0] else 40)  # each costs HELM six requests
    found = helm(f"{url}/{kind}", texts)
    assert found["whole"] == texts
    for text, half, count in zip(texts, found["halves"], found["counts"], strict=True):
        assert text.startswith(half)
        # Fewer, where the cut is in a word that was given by its characters.
        assert count // 4 < len(codecs[kind].encode(half)) <= count // 2
    arrived = made[kind].arrived
    assert arrived == found["sent"] and len(arrived) == 6
    assert "Which key opens\n\nthe Red  box?\nA. North\nB. South" in arrived[0]
    assert "def add(a, b):\n    return a + b" in arrived[1]
    read = [codecs[kind].encode_prompt(prompt).ids for prompt in arrived]
    assert [request.prompt for request in made[kind].read] == read


def helm(url: str, texts: list[str]) -> Any:
    """What HELM's side makes of prompts, see ``helm_zero_shot.py``."""
    command = [str(evaluate.helm_venv() / "bin/python"), str(SIDE), url]
    done = subprocess.run(
        command, input=json.dumps(texts), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
