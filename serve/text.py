"""Text to tokens and back, exactly: tokenizer, incremental detokenizer, stop matcher.

The tokenizer is read from the folder's ``tokenizer.json`` itself, without transformers: the process
that answers HTTP then needs neither torch nor seconds to start, and the clean-up of spaces that
transformers may do on decoding cannot bite. Rules:

- Special tokens written in a text are plain text; none is ever added by :meth:`TextCodec.encode`.
- A prompt gets one BOS if and only if the tokenizer itself adds it, never two.
- Decoding drops special tokens, and gives back every other character, leading spaces included.
"""

import codecs
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

_SPACE_MARK = "\u2581"  # SentencePiece's stand-in for a space
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


@lru_cache(maxsize=1)
def _byte_level_table() -> dict[str, int]:
    """GPT-2's map between bytes and printable characters, character to byte.

    Printable Latin-1 bytes stand for themselves, the other 68 take the characters from U+0100 on.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


@dataclass(frozen=True)
class PromptTokens:
    """A prompt as the model reads it.

    Attributes:
        ids: token ids.
        lead: how many of them, at the front, are the model's own (BOS) and not the prompt's text.
    """

    ids: tuple[int, ...]
    lead: int


class TextCodec:
    """One model's tokenizer. Safe to use from several threads.

    Args:
        tokenizer: a ``tokenizers.Tokenizer``; it is set to read special tokens as plain text.
        bos: the BOS token's text, if the model has one.
        eos: the EOS token's text, if the model has one.
    """

    def __init__(self, tokenizer: Tokenizer, bos: str | None, eos: str | None) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._lead = _added_in_front(tokenizer)
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._bos = bos
        self._byte_level = '"ByteLevel"' in json.dumps(json.loads(tokenizer.to_str())["decoder"])
        self._added = tokenizer.get_added_tokens_decoder()
        self._doubles_space = self.decode(self._plain(" a")) == "a"
        self.prefixes_space = self.token_bytes(self._plain("a")[0]).startswith(b" ")
        self.eos_id: int | None = tokenizer.token_to_id(eos) if eos else None
        self._start_id: int | None = tokenizer.token_to_id(bos) if bos else self.eos_id

    @classmethod
    def load(cls, model_dir: Path) -> "TextCodec":
        """Reads ``tokenizer.json`` and ``tokenizer_config.json`` of a model folder.

        Raises:
            FileNotFoundError: the folder has no ``tokenizer.json``.
        """
        path = model_dir / "tokenizer_config.json"
        config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        tokenizer_file = model_dir / "tokenizer.json"
        if not tokenizer_file.exists():
            raise FileNotFoundError(f"no tokenizer.json in {model_dir}")
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
        return cls(tokenizer, _token_text(config, "bos_token"), _token_text(config, "eos_token"))

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens; ``decode`` of them is the text again."""
        # Metaspace tokenizers (transformers' LlamaTokenizer) put no space mark before a text that
        # starts with a space, yet decoding strips one: such a text needs its own.
        if self._doubles_space and text.startswith(" "):
            text = " " + text
        return self._plain(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids; special tokens are left out, bytes that are not UTF-8 give U+FFFD."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def encode_prompt(self, prompt: str) -> PromptTokens:
        """A prompt's ids, with one BOS in front if the tokenizer adds one.

        A BOS already written at the prompt's head is that one BOS. A prompt without any token
        starts from BOS or EOS, because a model must be fed something.
        """
        if self._lead and self._bos and prompt.startswith(self._bos):
            prompt = prompt[len(self._bos) :]
        lead, ids = self._lead, self.encode(prompt)
        if not lead and not ids and self._start_id is not None:
            lead = (self._start_id,)
        return PromptTokens((*lead, *ids), len(lead))

    def encode_spans(self, text: str) -> tuple[list[int], list[int]]:
        """A prompt's ids as ``encode_prompt`` gives them, and where in the text each token begins.

        Training rows are made with it: what is learnt is then what will be asked. -1 stands for
        what is not of the text (BOS).
        """
        padded = self._doubles_space and text.startswith(" ")
        made = self._tokenizer.encode(" " + text if padded else text, add_special_tokens=False)
        starts = [max(start - padded, 0) for start, _ in made.offsets]
        return [*self._lead, *made.ids], [-1] * len(self._lead) + starts

    def unknown_ids(self, ids: Iterable[int]) -> list[int]:
        """Positions of the ids that are in no vocabulary entry."""
        size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        bound = max(size, 1 + max(self._added, default=0))
        return [
            place
            for place, token in enumerate(ids)
            if not 0 <= token < bound or self._tokenizer.id_to_token(token) is None
        ]

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token stands for; none for special tokens and ids outside the vocabulary."""
        added = self._added.get(token)
        if added is not None:
            return b"" if added.special else str(added.content).encode("utf-8")
        entry = self._tokenizer.id_to_token(token)
        if entry is None:  # models often have more embedding rows than the tokenizer has entries
            return b""
        if self._byte_level:
            table = _byte_level_table()
            return bytes(table[c] for c in entry if c in table)
        byte = _BYTE_TOKEN.fullmatch(entry)
        if byte:
            return bytes([int(byte.group(1), 16)])
        return str(entry).replace(_SPACE_MARK, " ").encode("utf-8")

    def token_text(self, token: int) -> str:
        """One token's text by itself, for candidates; parts of a character give U+FFFD."""
        return self.token_bytes(token).decode("utf-8", errors="replace")

    def _plain(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _added_in_front(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The special tokens the tokenizer puts before a text by itself (BOS or nothing)."""
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    return tuple(full[: full.index(bare[0])])


def _token_text(config: dict[str, Any], name: str) -> str | None:
    """A special token of ``tokenizer_config.json``: a string, or a dict with its ``content``."""
    token = config.get(name)
    return token["content"] if isinstance(token, dict) else token


class Detokenizer:
    """Turns token ids into text one by one; the pieces, joined, are the text.

    A character split over several tokens is given with the token that completes it.

    Args:
        codec: the tokenizer.
        at_start: the first token starts a text, so the space that the tokenizer itself puts before
            a text is taken off; a continuation keeps its space.
    """

    def __init__(self, codec: TextCodec, at_start: bool) -> None:
        self._codec = codec
        self._strip = at_start and codec.prefixes_space
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that this token completes."""
        data = self._codec.token_bytes(token)
        if self._strip and data:
            data, self._strip = data.removeprefix(b" "), False
        return self._decoder.decode(data)

    def flush(self) -> str:
        """U+FFFD for a character left unfinished, else nothing."""
        return self._decoder.decode(b"", final=True)


class StopMatcher:
    """Finds the first stop sequence in a text that arrives in pieces.

    Args:
        stops: non-empty strings.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._keep = max((len(stop) for stop in stops), default=1) - 1
        self._tail = ""
        self._length = 0

    def push(self, piece: str) -> int | None:
        """Takes the next piece.

        Returns:
            Where, in characters from the start of the text, the earliest stop starts; None so far.
        """
        window = self._tail + piece
        start = self._length - len(self._tail)
        self._length += len(piece)
        self._tail = window[max(0, len(window) - self._keep) :]
        found = [place for stop in self._stops if (place := window.find(stop)) >= 0]
        return start + min(found) if found else None
