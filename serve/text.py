"""Text to tokens and back, exactly: tokenizer, incremental detokenizer.

The tokenizer is read from the folder's ``tokenizer.json`` itself, without transformers: the process
that answers HTTP then needs neither torch nor seconds to start, and the clean-up of spaces that
transformers may do on decoding cannot bite. Only a folder without that file is converted by it.
Rules:

- Special tokens written in a text are plain text, unless a prompt is read with ``parse_special``;
  none is ever added by :meth:`TextCodec.encode`.
- A prompt gets one BOS if and only if the tokenizer itself adds it; one that is written at the head
  of a prompt and read as a special token is that one.
- Decoding drops special tokens, and gives back every other character, leading spaces included.

What cannot come back: characters that the tokenizer itself drops or rewrites (a normalizer such as
NFC, a vocabulary without bytes), of which loading warns, and U+2581, SentencePiece's own mark for a
space, which comes back as one. WordPiece and Unigram models that drop ordinary text (line ends,
capitals) are told from the others by trying; for them ``encode`` and ``decode`` speak in ids of
:mod:`serve.surface`, which keep everything, and the model's own ids are those of a prompt.
"""

import codecs
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models

from serve import entries
from serve.conversion import read
from serve.entries import ID_NAME
from serve.reading import Reader, framing, take_apart
from serve.spacing import Spacing
from serve.surface import Surface

log = logging.getLogger(__name__)

#: How the families write the token behind which an encoder guesses, and that of unknown words.
_MASKS, _UNKNOWN = ("[MASK]", "<mask>"), ("[UNK]", "<unk>")

#: What a tokenizer's normalizer or vocabulary may not give back: spaces, line ends, capitals,
#: compatibility forms (NFKC), decomposed letters (NFC), characters far from any training text.
_ORDINARY = (
    " The  end ",
    "a\n\n\tb\r\n",
    "Hello , world .",
    "it 's",
)
_PROBES = (
    *_ORDINARY,
    "\ufb01 \u2163 x\u00b2",
    "e\u0301",
    "café 東京 😀",
    "\u200b\u00a0\x00\U0001b000",
)


@dataclass(frozen=True)
class PromptTokens:
    """A prompt as the model reads it.

    Attributes:
        ids: token ids.
        lead: how many of them, at the front, are the model's own (BOS) and not the prompt's text.
        written: how many after those are a BOS that the prompt itself wrote: part of its text, yet
            as little to be cut off as the model's own.
        texts: what each id behind the lead stands for in the prompt, joined the prompt; empty where
            the ids alone tell it.
    """

    ids: tuple[int, ...]
    lead: int
    written: int = 0
    texts: tuple[str, ...] = ()


class TextCodec:
    """One model's tokenizer. Safe to use from several threads.

    Args:
        tokenizer: a ``tokenizers.Tokenizer``; it is set to read special tokens as plain text.
        bos: the BOS token's text, if the model has one.
        eos: the EOS token's text, if the model has one.
        mask: the mask token's text, if it has one.

    Attributes:
        trail: ids that the tokenizer puts behind a prompt: [SEP], </s>; mostly none. What reads
            them (an encoder) puts them there; ``encode_prompt`` does not.
        eos_id: ends an answer; without an EOS of its own the last of the trail. None: nothing does.
        mask_id: stands for what an encoder is asked; None: it has none.
        never_answered: ids that are no answer: special tokens but EOS, and the unknown token.
    """

    def __init__(
        self, tokenizer: Tokenizer, bos: str | None, eos: str | None, mask: str | None = None
    ) -> None:
        # A tokenizer.json may store both, from whoever trained with it.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._byte_level = "ByteLevel" in str(tokenizer.decoder)  # str: or one of several
        self._added: dict[int, AddedToken] = tokenizer.get_added_tokens_decoder()
        self._names: dict[int, str] = {}
        # The mark of a word piece that goes on with the word before it.
        word_pieces = isinstance(tokenizer.model, models.WordPiece)
        self._goes_on = tokenizer.model.continuing_subword_prefix if word_pieces else None
        self._lead, self.trail = framing(tokenizer)
        # Asked before special tokens become text: one of them may be the separator.
        self.prefixes_space = self._puts_space("")
        self.prefixes_everywhere = self.prefixes_space and self._puts_space(self._separator())
        self._plain = self._reader(tokenizer, specials_as_text=True)
        self.eos_id = self._end_id(eos)
        self.mask_id = self._mask_id(mask)
        self.never_answered = self._never_answered()
        self._start_id = self._first_id(bos)
        self._surface = self._surface_if_lossy()

    @classmethod
    def load(cls, model_dir: Path) -> "TextCodec":
        """Reads the tokenizer of a model folder, and warns if it does not give back every text.

        That is ``tokenizer.json`` with ``tokenizer_config.json`` or, by way of transformers, the
        files of a slow tokenizer (SentencePiece's ``*.model``, ``vocab.json`` and ``merges.txt``).

        Raises:
            FileNotFoundError: the folder has none of these.
            ValueError: transformers cannot convert the slow tokenizer.
        """
        codec = cls(*read(model_dir))
        for before in codec.lost()[:1]:
            log.warning(
                "%s: its tokenizer does not keep every text: %r is read back as %r",
                model_dir, before, codec.decode(codec.encode(before)),
            )  # fmt: skip
        return codec

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens; ``decode`` of them is the text again.

        Any first few of them decode to a beginning of the text.
        """
        return self._surface.encode(text) if self._surface else self._plain.ids(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of which ``encode`` gave these ids; special tokens have none."""
        return self._surface.decode(ids) if self._surface else self.spelled(ids)

    def undecodable(self, ids: Sequence[int]) -> list[int]:
        """Places of the ids that ``decode`` cannot take."""
        return self._surface.undecodable(ids) if self._surface else self.unknown_ids(ids)

    def spelled(self, ids: Iterable[int]) -> str:
        """Text of the model's own ids, special tokens left out; of a part of a character U+FFFD."""
        pieces = Detokenizer(self, at_start=True)
        return "".join(map(pieces.push, ids)) + pieces.flush()

    def encode_prompt(self, prompt: str, parse_special: bool = False) -> PromptTokens:
        """A prompt's ids, with one BOS in front if the tokenizer adds one.

        A prompt without any token starts from BOS or EOS, because a model must be fed something.

        Args:
            prompt: the text.
            parse_special: special tokens written in it are read as such, not as text. A BOS at its
                head is then the one BOS.
        """
        reader = self._parsing if parse_special else self._plain
        ids, lead = tuple(reader.ids(prompt)), self._lead
        texts = tuple(self._surface.texts(reader, prompt)) if self._surface else ()
        if lead and ids[: len(lead)] == lead:
            return PromptTokens(ids, 0, len(lead), texts)
        if not lead and not ids:
            lead = (self._start_id,)
        return PromptTokens((*lead, *ids), len(lead), 0, texts)

    def encode_spans(self, text: str, parse_special: bool = False) -> tuple[list[int], list[int]]:
        """A prompt's ids as ``encode_prompt`` gives them, and where in the text each token begins.

        Training rows are made with it: what is learnt is then what will be asked. -1 stands for
        what is not of the text (BOS).

        Args:
            text: the text.
            parse_special: as in ``encode_prompt``.
        """
        pieces = (self._parsing if parse_special else self._plain).pieces(text)
        ids = [token for token, _, _ in pieces]
        lead = () if tuple(ids[: len(self._lead)]) == self._lead else self._lead
        return [*lead, *ids], [-1] * len(lead) + [start for _, start, _ in pieces]

    def unknown_ids(self, ids: Iterable[int]) -> list[int]:
        """Positions of the ids that are in no vocabulary entry."""
        size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        # A bound first: id_to_token raises OverflowError where an id is no 32-bit number.
        bound = max(size, 1 + max(self._added, default=0))
        return [
            place
            for place, token in enumerate(ids)
            if not 0 <= token < bound or self._tokenizer.id_to_token(token) is None
        ]

    def token_bytes(self, token: int, special: bool = False) -> bytes:
        """The bytes a token stands for; none for ids outside the vocabulary.

        Args:
            token: its id.
            special: give special tokens as they are written; else they have no bytes.
        """
        added = self._added.get(token)
        if added and added.special and not special:
            return b""
        entry = self._tokenizer.id_to_token(token)
        if entry is None:  # models often have more embedding rows than the tokenizer has entries
            return b""
        if self._byte_level:
            return entries.byte_level_bytes(entry) if not added else str(entry).encode("utf-8")
        if added:
            return entries.written(entry).encode("utf-8")
        byte = entries.fallback_byte(entry)
        return byte or entries.written(entry.removeprefix(self._goes_on or "")).encode("utf-8")

    def spacing(self, at_start: bool) -> Spacing | None:
        """Puts the blanks between word pieces; None where the tokens have their own.

        Args:
            at_start: the first token starts a text, as in :class:`Detokenizer`.
        """
        return None if self._goes_on is None else Spacing(at_start)

    def goes_on(self, token: int) -> bool:
        """Whether a word piece goes on with the word before it."""
        if not self._goes_on or token in self._added:
            return False
        return (self._tokenizer.id_to_token(token) or "").startswith(self._goes_on)

    @cached_property
    def uncased(self) -> bool:
        """Whether the model is told no capitals, and can write none."""
        normalizer = self._tokenizer.normalizer
        return normalizer is not None and normalizer.normalize_str("ABC").islower()

    def names(self, tokens: Iterable[int]) -> dict[int, str]:
        r"""What to call tokens that stand side by side: as they are written, special ones, too.

        A part of a character is ``bytes:\xf0\x9f``, as OpenAI names it. An id without text, and
        the second of two that are written alike, is ``token_id:7``, vLLM's form: no name is twice.
        A word piece has the blank that it has behind a word.
        """
        names: dict[int, str] = {}
        taken: set[str] = set()
        for token in tokens:
            if token not in names:
                name = self._name(token)
                names[token] = f"{ID_NAME}{token}" if name in taken else name
                taken.add(names[token])
        return names

    def _name(self, token: int) -> str:
        if token not in self._names:
            name = entries.name(self.token_bytes(token, special=True)) or f"{ID_NAME}{token}"
            spacing = None if self.is_added(token) else self.spacing(at_start=False)
            gap = spacing.before(name, self.goes_on(token)) if spacing else ""
            self._names[token] = gap + name
        return self._names[token]

    def written(self, token: int) -> str | None:
        """A special token as it is written; None for any other."""
        added = self._added.get(token)
        return str(added.content) if added and added.special else None

    @property
    def specials(self) -> list[str]:
        """The special tokens as they are written: text to ``encode``, and never in an answer."""
        return [token.content for token in self._added.values() if token.special]

    def is_added(self, token: int) -> bool:
        """Whether the token was added to the vocabulary, special or not: texts are split at it."""
        return token in self._added

    def lost(self) -> list[str]:
        """Texts, out of a few hard ones, that do not survive ``encode`` and ``decode``."""
        added = [f"a {token.content} b" for token in self._added.values() if not token.special]
        return [text for text in (*_PROBES, *added) if self.decode(self.encode(text)) != text]

    def _surface_if_lossy(self) -> Surface | None:
        """What keeps texts whole where word pieces or a Unigram model drop ordinary text."""
        kept = (self.spelled(self._plain.ids(text)) == text for text in _ORDINARY)
        if not isinstance(self._tokenizer.model, models.WordPiece | models.Unigram) or all(kept):
            return None
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        plain = {
            token: self.token_bytes(token).decode("utf-8", "replace").removeprefix(" ")
            for token in vocabulary.values()
            if token not in self.never_answered and token != self.eos_id
        }
        return Surface(self._plain, plain, 1 + max(vocabulary.values()))

    @cached_property
    def _parsing(self) -> Reader:
        """The reader of special tokens; a copy, because the mode is the tokenizer's."""
        return self._reader(Tokenizer.from_str(self._tokenizer.to_str()), specials_as_text=False)

    def _reader(self, tokenizer: Tokenizer, specials_as_text: bool) -> Reader:
        """The reader of one mode.

        Metaspace tokenizers (transformers' LlamaTokenizer) and byte-level ones that put a space
        before a text put none before a text that starts with one, yet decoding strips one: such a
        text needs its own. Some do the same after every added token.
        """
        tokenizer.encode_special_tokens = specials_as_text
        if specials_as_text:
            take_apart(tokenizer, [t.content for t in self._added.values() if t.special])
        alike = {tuple(tokenizer.encode(t, add_special_tokens=False).ids) for t in ("a", " a")}
        if not self.prefixes_space or len(alike) > 1:
            return Reader(tokenizer, None)
        added = [t.content for t in self._added.values() if not (t.special and specials_as_text)]
        # The longest first: of alternatives re takes the first that fits.
        splits = map(re.escape, sorted(added, key=len, reverse=True))
        heads = "|".join([r"\A", *(splits if self.prefixes_everywhere else [])])
        return Reader(tokenizer, re.compile(f"({heads}) "))

    def _puts_space(self, before: str | None) -> bool:
        """Whether the tokenizer puts a space of its own between ``before`` and a letter."""
        if before is None:
            return False
        ids = self._tokenizer.encode(before + "a", add_special_tokens=False).ids
        return b"".join(map(self.token_bytes, ids)).endswith(b" a")

    def _separator(self) -> str | None:
        """An added token, if there is one, that does not itself end with a space."""
        contents = (str(token.content) for token in self._added.values())
        return next((text for text in contents if not text[-1:].isspace()), None)

    def _end_id(self, eos: str | None) -> int | None:
        found: int | None = self._tokenizer.token_to_id(eos) if eos else None
        return self.trail[-1] if found is None and self.trail else found

    def _mask_id(self, mask: str | None) -> int | None:
        ids = (self._tokenizer.token_to_id(name) for name in (mask, *_MASKS) if name)
        return next((token for token in ids if token in self._added), None)

    def _never_answered(self) -> frozenset[int]:
        special = {token for token, added in self._added.items() if added.special}
        unknown = (self._tokenizer.token_to_id(name) for name in _UNKNOWN)
        special.update(token for token in unknown if token is not None)
        return frozenset(token for token in special if token != self.eos_id)

    def _first_id(self, bos: str | None) -> int:
        """The token to start from where there is nothing to start from."""
        first = self._tokenizer.token_to_id(bos) if bos else self.eos_id
        special = (token for token, added in self._added.items() if added.special)
        return next(special, 0) if first is None else first


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
        self._spacing, self._echoed = codec.spacing(at_start), False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int, special: bool = False) -> str:
        """The text that this token completes.

        Args:
            token: its id.
            special: give special tokens as they are written: an echoed prompt has only those that
                its text named. Else they have no text.
        """
        data = self._codec.token_bytes(token, special)
        if not data:
            return ""
        added = self._codec.is_added(token)
        if self._strip and not added:
            data = data.removeprefix(b" ")
        if self._spacing:
            if (
                self._echoed and not special
            ):  # an answer is written alike with its prompt or without
                self._spacing = Spacing(at_start=False)
            self._echoed = special
            piece = data.decode("utf-8")
            return self._spacing.before(piece, self._codec.goes_on(token)) + piece
        self._strip = added and self._codec.prefixes_everywhere
        return self._decoder.decode(data)

    def flush(self) -> str:
        """U+FFFD for a character left unfinished, else nothing."""
        return self._decoder.decode(b"", final=True)
