"""Small tokenizers of three kinds, without transformers; each in a folder.

The files in ``tokenizers/`` were written by ``python -m tests.tools.data.tokenizers``: what a
trainer makes may differ from version to version, and golden ids must not.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

_SAID = [
    "Question: What is two plus two?\nA. 3\nB. 4\nAnswer: B\n\n",
    "Question: Who said it, and when?\nAnswer: It was said in 1999.\n\n",
    "Hello, world. It's a fine day; isn't it?  Yes -- 100 % fine. Bye! See you.",
    "The capital of France is Paris. The capital of Italy is Rome.",
    "user assistant system [INST] [/INST] Natürlich, café, 東京, привет.",
] * 4
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_level() -> Tokenizer:
    """As GPT-2, Qwen and SmolLM2: byte-level BPE, no BOS."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_SAID, trainer)
    return made


def sentencepiece() -> Tokenizer:
    """As Mistral-7B-v0.1 and Llama 2: BPE with byte fallback, a dummy prefix, a BOS in front."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    # Entries hold a space mark at their front or not at all, as SentencePiece's do.
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n|[^\w\s]"), "isolated"),
            pre_tokenizers.Metaspace(prepend_scheme="never"),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<unk>", "<s>", "</s>", *_BYTES], show_progress=False
    )
    made.train_from_iterator(_SAID, trainer)
    state: dict[str, Any] = json.loads(made.to_str())
    state["added_tokens"] = state["added_tokens"][:3]  # bytes are plain entries
    state["pre_tokenizer"] = None
    made = Tokenizer.from_str(json.dumps(state))
    marks = [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    made.normalizer = normalizers.Sequence(marks)
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def unigram() -> Tokenizer:
    """As T5's and XLNet's kind: a Unigram model behind Metaspace, byte fallback, no BOS."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.UnigramTrainer(
        vocab_size=500,
        special_tokens=["<unk>", "<s>", "</s>", *_BYTES],
        unk_token="<unk>",
        show_progress=False,
    )
    made.train_from_iterator(_SAID, trainer)
    state: dict[str, Any] = json.loads(made.to_str())
    state["added_tokens"] = state["added_tokens"][:3]
    state["model"]["byte_fallback"] = True
    made = Tokenizer.from_str(json.dumps(state))
    made.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")]
    )
    return made


FILES = Path(__file__).with_name("tokenizers")
KINDS: dict[str, Callable[[], Tokenizer]] = {
    "byte_level": byte_level,
    "sentencepiece": sentencepiece,
    "unigram": unigram,
}


def saved(folder: Path, kind: str = "byte_level", template: str | None = None) -> Path:
    """A model's folder without its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(FILES / f"{kind}.json", folder / "tokenizer.json")
    config = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text("{}")
    return folder


if __name__ == "__main__":
    for name, make in KINDS.items():
        make().save(str(FILES / f"{name}.json"), pretty=False)
