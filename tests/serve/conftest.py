"""Tiny models and tokenizers, built here: nothing is downloaded."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import requests
import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer, PreTrainedTokenizerFast

from serve.config import ServeConfig
from serve.engine import build_engine
from serve.engine.base import Engine
from serve.text import TextCodec

CORPUS = [
    "The capital of France is Paris. The capital of Italy is Rome.",
    "Question: What is two plus two?\nA. 3\nB. 4\nAnswer: B\n\n",
    "Hello , world . It's a fine day; isn't it?  Yes -- 100 % fine.",
    "Natürlich, überall: café, naïve, 東京, привет, 😀.",
] * 4


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """As GPT-2 and SmolLM2: byte-level BPE, no BOS, an added token that is not special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|endoftext|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([AddedToken("<extra thing>", special=False, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=True,
    )


def byte_fallback_vocabulary() -> dict[str, Any]:
    """A SentencePiece-like BPE with byte fallback, as Llama's and Mistral's tokenizer.json."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=special + [f"<0x{byte:02X}>" for byte in range(256)],
        limit_alphabet=40,
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    state: dict[str, Any] = json.loads(tokenizer.to_str())
    state["added_tokens"] = state["added_tokens"][: len(special)]  # bytes are plain entries
    return state


def prepend_tokenizer() -> PreTrainedTokenizerFast:
    """As Mistral-7B-v0.1's file: a normalizer puts the space mark, a template puts BOS."""
    tokenizer = Tokenizer.from_str(json.dumps(byte_fallback_vocabulary()))
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def metaspace_tokenizer() -> PreTrainedTokenizerFast:
    """As transformers 5 writes for Llama: Metaspace, which swallows a leading space; no BOS."""
    model = byte_fallback_vocabulary()["model"]
    return LlamaTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])


TOKENIZERS = {
    "byte_level": byte_level_tokenizer,
    "prepend": prepend_tokenizer,
    "metaspace": metaspace_tokenizer,
}


def save_model(folder: Path, tokenizer: PreTrainedTokenizerFast, **config: Any) -> Path:
    """A random Llama of about 100 thousand weights with a tokenizer, in one folder."""
    torch.manual_seed(0)
    settings = {
        "vocab_size": len(tokenizer) + 5,  # more rows than entries, as real models have
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "initializer_range": 0.3,  # uneven enough for greedy text to vary
    }
    LlamaForCausalLM(LlamaConfig(**settings | config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_dirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model folder for each kind of tokenizer, and one without EOS (``endless``)."""
    root = tmp_path_factory.mktemp("models")
    folders = {kind: save_model(root / kind, make()) for kind, make in TOKENIZERS.items()}
    silent = byte_level_tokenizer()
    silent.eos_token = None  # nothing ends an answer of this one but its length
    return folders | {"endless": save_model(root / "endless", silent, max_position_embeddings=8192)}


@pytest.fixture(scope="session")
def codecs(model_dirs: dict[str, Path]) -> dict[str, TextCodec]:
    """The tokenizers as the worker reads them."""
    return {kind: TextCodec.load(model_dirs[kind]) for kind in TOKENIZERS}


@pytest.fixture(scope="session")
def engine(model_dirs: dict[str, Path]) -> Iterator[Engine]:
    """The default engine on the byte-level model."""
    built = build_engine(model_dirs["byte_level"], ServeConfig(context=512), "cpu")
    yield built
    built.close()


@pytest.fixture(scope="session")
def bos_engine(model_dirs: dict[str, Path]) -> Iterator[Engine]:
    """The default engine on a model whose tokenizer adds BOS."""
    built = build_engine(model_dirs["prepend"], ServeConfig(context=512), "cpu")
    yield built
    built.close()


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RunningServer:
    """A ``python -m serve`` process."""

    process: subprocess.Popen[str]
    url: str
    port: int
    log: Path

    statuses: list[int] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what is left of its processes: all are in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def post(self, path: str, body: Any, timeout: float = 60) -> requests.Response:
        """POSTs JSON."""
        return requests.post(self.url + path, json=body, timeout=timeout)

    def wait_ready(self, seconds: float = 60) -> list[int]:
        """Waits for /health to say 200; returns the statuses seen before."""
        seen: list[int] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                answer = requests.get(self.url + "/health", timeout=10)
                seen.append(answer.status_code)
                if answer.status_code == 200:
                    return seen
            except requests.ConnectionError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"not ready: {self.log.read_text()}")


@pytest.fixture(scope="session")
def start_server() -> Callable[..., RunningServer]:
    """Starts servers: ``start_server(model_dir, log, *options, port=None)``."""
    return _start_server


def _start_server(
    model_dir: Path, log: Path, *options: str, port: int | None = None
) -> RunningServer:
    """Starts a server in its own session, its output in ``log``."""
    port = port or free_port()
    command = [sys.executable, "-m", "serve", "--model", str(model_dir), "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
    return RunningServer(process, f"http://127.0.0.1:{port}", port, log)
