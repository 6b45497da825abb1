"""Answers that follow a JSON schema: which tokens may come next, by the library llguidance.

llguidance is handed the vocabulary once, as bytes, and compiles a schema to a matcher. A matcher
is told each token of an answer and gives the mask of those that may follow it. Its own end token is
one that no model has: what ends an answer is decided in :class:`serve.engine.answer.Answer`.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from serve.engine.base import BadGrammar
from serve.text import TextCodec

log = logging.getLogger(__name__)

#: Compiled schemas that are kept.
KEPT = 32

#: Space between JSON's parts: a blank, or a new line and its indentation. Without a bound a weak
#: model may write blanks until its tokens are used up.
_SPACE = r"\x20|\r?\n[ \t]{0,32}"

#: Work that one mask may take: about a quarter of llguidance's own bounds, whose 200,000 were
#: measured to take 40 ms (schemas of a usual kind take 1 ms); and states, of 1 to 2 kB each.
_BOUNDS: dict[str, Any] = {
    "step_lexer_fuel": 50_000,
    "step_max_items": 12_500,
    "max_lexer_states": 50_000,
}


#: A character that stands alone in a tokenizer's eyes, and in no JSON.
_MARK = "\x02"


class Guide:
    """One answer's way through a grammar.

    Args:
        matcher: llguidance's, at the answer's start.
        size: number of the model's token ids.

    Attributes:
        allowed: ``[size]`` of bool: the tokens of text that may come next.
        complete: whether the text so far is whole, so that it may end here.

    Raises:
        BadGrammar: the next step is too much work.
    """

    def __init__(self, matcher: Any, size: int) -> None:
        self._matcher, self._size = matcher, size
        self._look()

    def take(self, token: int) -> bool:
        """Takes the next token; returns whether the text is whole and nothing can follow it.

        Raises:
            BadGrammar: it does not follow the grammar, or the step after it is too much work.
        """
        if not self._matcher.consume_token(token):
            raise BadGrammar(self._fault())
        self._look()
        return self.complete and not bool(self.allowed.any())

    def _look(self) -> None:
        mask = bytearray(self._matcher.compute_logit_bias())
        if self._matcher.is_error():
            raise BadGrammar(self._fault())
        self.allowed = torch.frombuffer(mask, dtype=torch.uint8)[: self._size] > 0
        self.complete = bool(self._matcher.is_accepting())

    def _fault(self) -> str:
        return _told(self._matcher.get_error())


class Grammar:
    """A compiled schema; any number of answers may follow it.

    Args:
        matcher: llguidance's, at the start; it is only copied.
        size: number of the model's token ids.
    """

    def __init__(self, matcher: Any, size: int) -> None:
        self._matcher, self._size = matcher, size

    def guide(self) -> Guide:
        """An answer's own way through it."""
        return Guide(self._matcher.deep_copy(), self._size)


class Grammars:
    """What compiles schemas for one model's vocabulary.

    Args:
        text: the model's tokenizer.
        size: number of the model's token ids; it may be more than the tokenizer has.

    Raises:
        ImportError: llguidance is not installed.
    """

    def __init__(self, text: TextCodec, size: int) -> None:
        from llguidance import LLMatcher, LLParserLimits, LLTokenizer

        self._size = size
        vocabulary: Any = _Vocabulary(text, size)  # the stubs know no duck
        self._tokenizer = LLTokenizer(vocabulary)
        vocabulary.longest = self._tokenizer.greedy_tokenize
        self._matcher = LLMatcher
        self._limits = LLParserLimits(verbose_errors=False, **_BOUNDS)
        # One: a client that sends many hard schemas takes one core, and waits for itself.
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="grammar")
        self._made: OrderedDict[str, Future[Grammar | str]] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, text: TextCodec, size: int) -> "Grammars | None":
        """The same; None, and why in the log, where there can be none."""
        if text.spacing(at_start=True):
            log.info("word pieces have no text of their own: response_format is refused")
            return None
        try:
            return cls(text, size)
        except ImportError:
            log.info("llguidance is not installed: requests with response_format are refused")
        except Exception as error:
            log.warning("requests with response_format are refused: llguidance says %s", error)
        return None

    def submit(self, schema: str) -> Future[Grammar | str]:
        """Compiles a schema in a thread, or finds it compiled.

        Args:
            schema: as JSON.

        Returns:
            Of the grammar, or of what is wrong with the schema.
        """
        with self._lock:
            future = self._made.pop(schema, None) or self._compiler.submit(self._compile, schema)
            self._made[schema] = future  # the one asked for last is the last to go
            if len(self._made) > KEPT:
                self._made.popitem(last=False)
        return future

    def _compile(self, schema: str) -> Grammar | str:
        try:
            grammar = self._matcher.grammar_from_json_schema(
                schema, overrides={"whitespace_pattern": _SPACE}
            )
            matcher = self._matcher(self._tokenizer, grammar, log_level=0, limits=self._limits)
            if matcher.is_error():
                return _told(matcher.get_error())
            matcher.compute_logit_bias()  # copies have it: the first mask takes longest
            return Grammar(matcher, self._size)
        except Exception as error:
            log.debug("llguidance failed on a schema", exc_info=True)
            return _told(error)


def _told(error: object) -> str:
    """What the library says of a schema, without where in its own code it says so."""
    said = " ".join(str(error).partition("\n<")[0].split())
    why = "the library failed on it" if said.startswith("panic") else said[:300]
    return f"has a schema that cannot be followed: {why}"


class _Vocabulary:
    """A tokenizer as llguidance's ``TokenizerWrapper`` has it.

    Special tokens have no bytes, so they are never text; one that is added to the vocabulary, and
    takes the space off what follows it, is not either: the text would not be its tokens' bytes.
    """

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, text: TextCodec, size: int) -> None:
        self._text = text
        self.tokens = [*map(self._bytes, range(size)), b"<end>"]
        self.eos_token_id = size
        self.special_token_ids = [size]
        self.longest: Callable[[str], list[int]] = lambda _: []

    def _bytes(self, token: int) -> bytes:
        hidden = self._text.prefixes_everywhere and self._text.is_added(token)
        return b"" if hidden else self._text.token_bytes(token)

    def __call__(self, text: str | bytes) -> list[int]:
        """Tokens of what a grammar leaves no choice about: those a model would write it with.

        Behind a mark, because many tokenizers put a space before a text's start. Where that does
        not give the text itself, the longest tokens that fit.
        """
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        made, skipped = self._text.encode_prompt(_MARK + text), b""
        ids = list(made.ids[made.lead :])
        if max(ids) >= self.eos_token_id:  # the model has fewer ids than its tokenizer
            return self.longest(text)
        while ids and not skipped.endswith(_MARK.encode()):
            skipped += self.tokens[ids.pop(0)]
        same = b"".join(self.tokens[token] for token in ids) == text.encode("utf-8")
        return ids if same else self.longest(text)
