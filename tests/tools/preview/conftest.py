"""Tokenizers of three kinds in folders without weights, and recipes that name them.

Made by the tokenizers library alone: neither this verb nor its tests need torch.
"""

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

from serve.text import TextCodec
from tools import __main__ as cli

CORPUS = [
    "The capital of France is Paris. The capital of Italy is Rome.",
    "Question: What is two and two?\nAnswer: It is 4.\n\nAnswer: B\n\n",
    "Hi there, you. Hello. Yes, more? Document 7. Long ones.",
] * 8
Call = Callable[..., tuple[int, str, str]]


def byte_level() -> Tokenizer:
    """As GPT-2's and Qwen's: byte-level BPE, no BOS."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def prepend() -> Tokenizer:
    """As Mistral-7B-v0.1's: a normalizer puts the space mark, a template puts BOS."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    marks = [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    tokenizer.normalizer = normalizers.Sequence(marks)
    # As in SentencePiece's vocabularies, a space mark is at a token's front or not at all.
    words = [
        pre_tokenizers.Split("\n", "isolated"),
        pre_tokenizers.Punctuation(),
        pre_tokenizers.Metaspace(prepend_scheme="never"),
    ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(words)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=special + [f"<0x{byte:02X}>" for byte in range(256)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    state: dict[str, Any] = json.loads(tokenizer.to_str())
    state["added_tokens"] = state["added_tokens"][: len(special)]  # bytes are plain entries
    state["pre_tokenizer"] = None
    made = Tokenizer.from_str(json.dumps(state))
    made.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def unigram() -> Tokenizer:
    """As T5's and XLM-R's: Unigram over Metaspace's words, no BOS."""
    marked = [f"\u2581{text}".replace(" ", "\u2581") for text in CORPUS]
    words = sorted({word for text in marked for word in re.findall("\u2581\\w+", text)})
    letters = sorted(set("".join(marked)) | set("0123456789\n"))
    # The more letters, the likelier: a word is one token.
    known = [*((word, -5.0) for word in words), *((letter, -10.0) for letter in letters)]
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *known], unk_id=0))
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return tokenizer


#: By kind, the tokenizer, its BOS, its EOS and what pads.
KINDS: dict[str, tuple[Callable[[], Tokenizer], str | None, str, str]] = {
    "byte_level": (byte_level, None, "<|im_end|>", "<|endoftext|>"),
    "prepend": (prepend, "<s>", "</s>", "<unk>"),
    "unigram": (unigram, None, "</s>", "<unk>"),
}


def saved(kind: str, folder: Path) -> Path:
    """Write a tokenizer as a model's folder has it."""
    make, bos, eos, _ = KINDS[kind]
    folder.mkdir()
    make().save(str(folder / "tokenizer.json"))
    named = {"bos_token": bos, "eos_token": eos}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By kind of tokenizer, a model's folder that holds no weights: none are needed."""
    root = tmp_path_factory.mktemp("tokenizers")
    return {kind: saved(kind, root / kind) for kind in KINDS}


@pytest.fixture(scope="session")
def codecs(folders: dict[str, Path]) -> dict[str, TextCodec]:
    """The tokenizers as the worker reads them."""
    return {kind: TextCodec.load(folder) for kind, folder in folders.items()}


def own(kind: str, folder: Path, **source: Any) -> dict[str, Any]:
    """A recipe with one source of local rows, and the model of that kind."""
    _, _, eos, pad = KINDS[kind]
    mine = {"kind": "local", "licence": "MIT", "origin": "human", **source}
    return {
        "defaults": ["cpu", "debug/no-sources"],
        "model": {"source": "local", "path": str(folder), "package": None, "eos": eos, "pad": pad},
        "data": {"validation_rows": 2, "test_rows": 2, "sources": {"mine": mine}},
    }


def jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write rows; the file's path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


QUESTIONS = [{"question": f"What is {n} and {n}?", "answer": f"It is {2 * n}."} for n in range(40)]


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """``main`` takes SIGTERM; give it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Run a verb on a recipe, in this process; its exit code, output and errors."""

    def run(recipe: dict[str, Any], *words: str, verb: str = "preview") -> tuple[int, str, str]:
        file = tmp_path / "own.yaml"
        file.write_text(yaml.safe_dump(recipe))
        options = ["--recipe", str(file), "--runs", str(tmp_path / "runs"), *words]
        monkeypatch.setattr(sys, "argv", ["oneday", verb, *options])
        code = cli.main()
        return code, *capsys.readouterr()

    return run
