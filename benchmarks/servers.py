"""The servers compared: how each is started, asked, and read."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks.loads import Load, Question
from serve.config import ServeConfig
from tools.console import environment
from tools.evaluate.worker import HOST, child, command, free_port, last_lines
from tools.run.folder import digest

#: HELM's "greedy".
GREEDY = 1e-7

#: Seconds that a server may take to load.
START_S = 180.0

#: Tokens of prompt and answer that llama.cpp holds: 32 requests of the contract's 2,048.
LLAMA_CONTEXT = 32 * 2048


GGUF_CACHE = Path(".cache/gguf")


class Unavailable(Exception):
    """This server cannot be measured here; the message says why."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """What all servers of a run are started with.

    Attributes:
        model: Hugging Face folder of the weights.
        serve: the recipe's ``serve`` section.
        scratch: folder for logs and made files.
        device: ``cpu``, where all compute in float32, or ``cuda``: in bfloat16.
    """

    model: Path
    serve: ServeConfig
    scratch: Path
    device: str = "cpu"

    @property
    def threads(self) -> int:
        """Threads that compute in each server: as our worker counts them, without its torch."""
        return self.serve.threads or max(1, len(os.sched_getaffinity(0)) - 1)

    @property
    def dtype(self) -> Literal["float32", "bfloat16"]:
        """What all servers compute in."""
        return "float32" if self.device == "cpu" else "bfloat16"


@dataclasses.dataclass(frozen=True)
class Server:
    """One server.

    Attributes:
        name: in the table.
        command: its command line for a port; raises :class:`Unavailable`.
        options: more of it for a load; loads of the same options share a process.
        path: of its generating route.
        body: a question in its words.
        text: the new text of its answer.
        new_tokens: number of new tokens of its answer.
        tokenize: the body of its /tokenize for a text.
        batches: whether it answers several requests at once.
    """

    name: str
    command: Callable[[Setup, int], list[str]]
    path: str
    body: Callable[[Question], dict[str, Any]]
    text: Callable[[dict[str, Any]], str]
    new_tokens: Callable[[dict[str, Any]], int]
    tokenize: Callable[[str], dict[str, Any]]
    options: Callable[[Load], tuple[str, ...]] = lambda load: ()
    batches: bool = True


@dataclasses.dataclass(frozen=True)
class Running:
    """A server that answers: its URL, main process and log."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextlib.contextmanager
def running(server: Server, setup: Setup, options: Sequence[str]) -> Iterator[Running]:
    """The server while the body runs; it is told to stop afterwards, if it has not yet.

    Args:
        server: which.
        setup: model and settings.
        options: more words for its command line.

    Raises:
        Unavailable: it cannot be started here.
    """
    port = free_port(0)
    log = setup.scratch / f"{server.name}.log"
    words = [*server.command(setup, port), *options]
    with child(words, log, environment(HF_HUB_OFFLINE="1")) as process:
        url = f"http://{HOST}:{port}"
        deadline = time.monotonic() + START_S
        while not _healthy(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"it did not start: {last_lines(log)}")
            time.sleep(0.2)
        yield Running(url, process, log)


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def llama_server() -> Path | None:
    """llama.cpp's server: ``$LLAMA_SERVER``, else the one on the PATH."""
    found = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
    return Path(found) if found else None


def _ours(setup: Setup, port: int) -> list[str]:
    config = dataclasses.replace(setup.serve, host=HOST, port=port, dtype=setup.dtype)
    return command(setup.model, config, setup.device, setup.scratch / "ours.json")


def _peer(module: str) -> Callable[[Setup, int], list[str]]:
    def make(setup: Setup, port: int) -> list[str]:
        options = ["--model", setup.model, "--port", port, "--threads", setup.threads]
        options += ["--device", setup.device, "--dtype", setup.dtype]
        return [sys.executable, "-m", f"benchmarks.{module}", *map(str, options)]

    return make


def _llama(setup: Setup, port: int) -> list[str]:
    if setup.device != "cpu":
        raise Unavailable("compared on a CPU only")
    binary = llama_server()
    if binary is None or not binary.is_file():
        raise Unavailable("not found: set LLAMA_SERVER to llama.cpp's llama-server")
    settings = {
        "--model": _as_gguf(setup.model),
        "--host": HOST,
        "--port": port,
        "--threads": setup.threads,
        "--ctx-size": LLAMA_CONTEXT,
    }
    return [str(binary), *(str(word) for pair in settings.items() for word in pair), "--kv-unified"]


def _llama_slots(load: Load) -> tuple[str, ...]:
    """What suits llama.cpp: a slot for each client, but four (its default) for 1-token answers.

    Each slot computes a shared prefix for itself.
    """
    return ("--parallel", str(load.clients if load.new_tokens > 1 else 4))


def _as_gguf(model: Path) -> Path:
    """The model's GGUF file, made on first use."""
    from benchmarks.llama_gguf import NotConvertible, convert

    key = [str(model.resolve()), (model / "model.safetensors").stat().st_mtime]
    target = GGUF_CACHE / f"{model.name}-{digest(key)[:12]}.gguf"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            convert(model, target)
        except NotConvertible as error:
            raise Unavailable(str(error)) from None
    return target


def _contract_body(question: Question) -> dict[str, Any]:
    """As HELM writes it."""
    return {
        "prompt": question.prompt,
        "temperature": GREEDY,
        "num_return_sequences": 1,
        "max_new_tokens": question.max_new_tokens,
        "top_p": 1,
        "echo_prompt": False,
        "top_k_per_token": question.candidates,
        "stop_sequences": list(question.stops),
    }


def _llama_body(question: Question) -> dict[str, Any]:
    return {
        "prompt": question.prompt,
        "temperature": 0,
        "n_predict": question.max_new_tokens,
        "n_probs": question.candidates,
        "stop": list(question.stops),
        "cache_prompt": True,
    }


def _contract(name: str, command: Callable[[Setup, int], list[str]], batches: bool) -> Server:
    """A server that speaks the challenge's contract."""
    return Server(
        name,
        command,
        "/process",
        _contract_body,
        text=lambda answer: str(answer["text"]),
        new_tokens=lambda answer: len(answer["tokens"]),
        tokenize=lambda text: {"text": text},
        batches=batches,
    )


SERVERS = {
    server.name: server
    for server in (
        _contract("ours", _ours, batches=True),
        _contract("2023", _peer("server_2023"), batches=False),
        _contract("hf-cb", _peer("server_hf_cb"), batches=True),
        Server(
            "llama.cpp",
            _llama,
            "/completion",
            _llama_body,
            text=lambda answer: str(answer["content"]),
            new_tokens=lambda answer: int(answer["tokens_predicted"]),
            tokenize=lambda text: {"content": text},
            options=_llama_slots,
        ),
    )
}
