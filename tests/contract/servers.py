"""The servers that the contract is tested on: real processes, one a kind of tokenizer."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from tests.serve.conftest import (
    RunningServer,
    _start_server,
    byte_level_tokenizer,
    metaspace_tokenizer,
    prepend_tokenizer,
    save_model,
)
from tests.tiny import save_adapter

#: Any engine can be asked the same: the recipe's, or what these variables say.
ENGINE = os.environ.get("ONEDAY_CONTRACT_ENGINE", "transformers")
DEVICE = os.environ.get("ONEDAY_CONTRACT_DEVICE", "cpu")


def endless_tokenizer() -> PreTrainedTokenizerFast:
    """Without EOS: nothing ends an answer but its length."""
    tokenizer = byte_level_tokenizer()
    tokenizer.eos_token = None
    return tokenizer


#: Any chat template, for a kind of server that has one; the others have none.
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def chatting_tokenizer() -> PreTrainedTokenizerFast:
    """With a chat template."""
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@dataclass(frozen=True)
class Kind:
    """A server: its tokenizer, its settings, and how many adapters are beside its model."""

    tokenizer: Callable[[], PreTrainedTokenizerFast]
    settings: dict[str, Any] = field(default_factory=dict)
    adapters: int = 0


KINDS = {
    "byte_level": Kind(chatting_tokenizer),
    "prepend": Kind(prepend_tokenizer, {"context": 64}),
    "metaspace": Kind(metaspace_tokenizer, {"context": 512}),
    "strict": Kind(prepend_tokenizer, {"context": 64, "overflow": "error", "parse_special": True}),
    "small": Kind(
        endless_tokenizer,
        {"context": 8192, "max_queue": 2, "max_body": 20_000, "deadline_s": 3.0},
    ),
    "ensemble": Kind(
        chatting_tokenizer, {"rules": {"all": {"ensemble": ["adapter-0", "adapter-1"]}}}, 2
    ),
    "fuzzed": Kind(prepend_tokenizer, {"context": 16, "max_batch": 128}),
}


def launch(kind: str, root: Path) -> RunningServer:
    """Starts a server of that kind, its model and its log under ``root``."""
    made = KINDS[kind]
    folder = save_model(root / kind, made.tokenizer(), max_position_embeddings=8192)
    settings = root / f"{kind}.json"
    folders = [
        save_adapter(folder, root / f"{kind}-adapter-{seed}", seed) for seed in range(made.adapters)
    ]
    beside = {f"adapter-{seed}": str(path) for seed, path in enumerate(folders)}
    settings.write_text(json.dumps({"engine": ENGINE, "adapters": beside} | made.settings))
    options = ("--config", str(settings), "--device", DEVICE)
    return _start_server(folder, root / f"{kind}.log", *options)


@contextmanager
def together(
    root: Path, names: Sequence[str], save: Callable[[str, Path], Path]
) -> Iterator[dict[str, RunningServer]]:
    """A server a model, ready; all start at once.

    Args:
        root: gets a folder and a log of each.
        names: of the models.
        save: writes the model of a name into a folder, and returns that.
    """
    settings = root / "serve.json"
    # An answer of one letter would come back capital: that rule has tests of its own.
    settings.write_text(json.dumps({"context": 2048, "capital_letters": False}))
    options = ("--config", str(settings), "--device", DEVICE)
    with ExitStack() as running:
        servers = {
            name: running.enter_context(
                _start_server(save(name, root / name), root / f"{name}.log", *options)
            )
            for name in names
        }
        for server in servers.values():
            server.wait_ready(120)
        yield servers
