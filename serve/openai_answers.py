"""The worker's answers as OpenAI's endpoints give them: pure functions of JSON-ready values.

What the fields mean: https://platform.openai.com/docs/api-reference/completions/object and
https://platform.openai.com/docs/api-reference/chat/object.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from serve.entries import BYTES_NAME, name_bytes

Json = dict[str, Any]

#: Why an answer ended, in OpenAI's words.
_REASONS = {"eos": "stop", "stop": "stop", "length": "length"}

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Made:
    """One completion.

    Attributes:
        text: under echo with the prompt's.
        tokens: of the text, as ``serve.contract.Token``.
        new: how many of them are new; those before are the prompt's.
        end: the token that ended it, which has no text, when the model itself did.
        reason: as OpenAI names it.
    """

    text: str
    tokens: list[Json]
    new: int
    end: Json | None
    reason: str

    @property
    def echoed(self) -> int:
        """How many tokens are the prompt's."""
        return len(self.tokens) - self.new


def read(answer: Json) -> list[Made]:
    """The completions in a worker's answer to a job with ``openai``.

    Greedy completions are all the same: the worker tells of the first what it tells of each.
    """
    found = answer.get("completions") or [answer]
    details = itertools.cycle(zip(answer["new_tokens"], answer["ends"], strict=True))
    return [
        Made(one["text"], one["tokens"], new, end, _REASONS[one["finish_reason"]])
        for one, (new, end) in zip(found, details, strict=False)
    ]


def usage(answers: Sequence[Json]) -> Json:
    """Tokens that all prompts had and that all completions have got."""
    prompt = sum(answer["prompt_tokens"] for answer in answers)
    new = sum(made.new for answer in answers for made in read(answer))
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


class Form(Protocol):
    """How one of the two endpoints writes.

    Attributes:
        id_prefix: of the answers' ids.
        whole: kind of object that a whole answer is.
        part: kind of object that a part of a stream is.
    """

    id_prefix: str
    whole: str
    part: str

    def choice(self, index: int, made: Made) -> Json:
        """One completion of a whole answer."""

    def opening(self, index: int) -> list[Json]:
        """What a completion's stream begins with."""

    def piece(self, index: int, text: str) -> Json:
        """The next piece of a completion's text."""

    def closing(self, index: int, made: Made) -> Json:
        """What a completion's stream ends with, after the last piece of its text."""


@dataclass(frozen=True)
class TextForm:
    """/v1/completions.

    Attributes:
        logprobs: tokens and scores are asked for.
    """

    logprobs: bool
    id_prefix = "cmpl"
    whole = "text_completion"
    part = "text_completion"

    def choice(self, index: int, made: Made) -> Json:
        """One completion of a whole answer."""
        return self._choice(index, made.text, self._scores(made), made.reason)

    def opening(self, index: int) -> list[Json]:
        """Nothing."""
        return []

    def piece(self, index: int, text: str) -> Json:
        """The next piece of a completion's text."""
        return self._choice(index, text, None, None)

    def closing(self, index: int, made: Made) -> Json:
        """The scores of all its text, and why it ended."""
        return self._choice(index, "", self._scores(made), made.reason)

    def _scores(self, made: Made) -> Json | None:
        return scores(made) if self.logprobs else None

    @staticmethod
    def _choice(index: int, text: str, logprobs: Json | None, reason: str | None) -> Json:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def scores(made: Made) -> Json:
    """``logprobs`` of a text completion: one entry a token.

    The first token of an echoed prompt has none: nothing precedes it. An EOS that ended the answer
    has an entry, though no text, so that every token that was generated is there. lm-eval, which
    scores an echoed prompt with one token more and takes the last entry off, relies on it.
    """
    tokens = [*made.tokens, *([made.end] if made.end else [])]
    unscored = min(made.echoed, 1)
    texts = [token["text"] for token in tokens]
    ends = itertools.accumulate(map(len, texts[:-1]), initial=0)
    nothing: list[Any] = [None] * unscored
    return {
        "tokens": texts,
        "token_logprobs": nothing + [token["logprob"] for token in tokens[unscored:]],
        "top_logprobs": nothing + [_candidates(token) for token in tokens[unscored:]],
        "text_offset": list(ends)[: len(texts)],  # accumulate gives a 0 for no tokens, too
    }


def _candidates(token: Json) -> dict[str, float]:
    """The likeliest, and the token itself where it is not among them."""
    best: dict[str, float] = token["top_logprob"]
    return best if token["name"] in best else best | {token["name"]: token["logprob"]}


@dataclass(frozen=True)
class ChatForm:
    """/v1/chat/completions.

    Attributes:
        logprobs: tokens and scores are asked for.
    """

    logprobs: bool
    id_prefix = "chatcmpl"
    whole = "chat.completion"
    part = "chat.completion.chunk"

    def choice(self, index: int, made: Made) -> Json:
        """One completion of a whole answer."""
        message = {"role": "assistant", "content": made.text, "refusal": None}
        return {
            "index": index,
            "message": message,
            "logprobs": self._scores(made),
            "finish_reason": made.reason,
        }

    def opening(self, index: int) -> list[Json]:
        """Who speaks."""
        return [self._part(index, {"role": "assistant", "content": ""})]

    def piece(self, index: int, text: str) -> Json:
        """The next piece of a completion's text."""
        return self._part(index, {"content": text})

    def closing(self, index: int, made: Made) -> Json:
        """The scores of all its text, and why it ended."""
        return self._part(index, {}) | {
            "logprobs": self._scores(made),
            "finish_reason": made.reason,
        }

    def _scores(self, made: Made) -> Json | None:
        if not self.logprobs:
            return None
        return {"content": [_chat_score(token) for token in made.tokens], "refusal": None}

    @staticmethod
    def _part(index: int, delta: Json) -> Json:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def _chat_score(token: Json) -> Json:
    """``bytes``, joined, are those of the text: a part of a character has its own part of them."""
    best = [_score(name, logprob) for name, logprob in token["top_logprob"].items()]
    text, name = token["text"], token["name"]
    part = name.startswith(BYTES_NAME)
    # The text where there is one: the first has lost its space, the last what a stop took.
    own = _score(name if part or not text else text, token["logprob"])
    if not text and not part:  # a special token
        own["bytes"] = []
    return own | {"top_logprobs": best}


def _score(name: str, logprob: float) -> Json:
    return {"token": name, "logprob": logprob, "bytes": list(name_bytes(name))}


@dataclass(frozen=True)
class Envelope:
    """What an answer, or each part of its stream, is wrapped in.

    Attributes:
        form: the endpoint's.
        id: the request's.
        created: seconds since 1970.
        model: name of the one that answers.
    """

    form: Form
    id: str
    created: int
    model: str

    def whole(self, answers: Sequence[Json]) -> Json:
        """The answer to all prompts of a request."""
        made = itertools.chain.from_iterable(map(read, answers))
        choices = [self.form.choice(index, one) for index, one in enumerate(made)]
        return self._wrap(self.form.whole, choices) | {"usage": usage(answers)}

    def part(self, choices: list[Json]) -> Json:
        """One part of a stream."""
        return self._wrap(self.form.part, choices)

    def _wrap(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": f"{self.form.id_prefix}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


class Stream:
    """The events of a streamed answer.

    Args:
        envelope: of each part.
        with_usage: the last part tells the tokens used.
    """

    def __init__(self, envelope: Envelope, with_usage: bool) -> None:
        self._envelope, self._with_usage = envelope, with_usage
        self._sent: dict[int, int] = {}

    def grown(self, texts: Sequence[str]) -> Iterator[bytes]:
        """Events for what is new.

        Args:
            texts: each completion's, as far as it is.
        """
        for index, text in enumerate(texts):
            yield from self._new(index, text)

    def ended(self, answers: Sequence[Json]) -> Iterator[bytes]:
        """The last events.

        Args:
            answers: the worker's, one a prompt.
        """
        form = self._envelope.form
        for index, made in enumerate(itertools.chain.from_iterable(map(read, answers))):
            yield from self._new(index, made.text)
            # An empty text had no piece, so nothing has opened it yet.
            yield from () if index in self._sent else self._open(index)
            yield self._event([form.closing(index, made)])
        if self._with_usage:
            yield _event(self._envelope.part([]) | {"usage": usage(answers)})
        yield DONE

    def _new(self, index: int, text: str) -> Iterator[bytes]:
        sent = self._sent.get(index, 0)
        if len(text) > sent:
            yield from () if index in self._sent else self._open(index)
            self._sent[index] = len(text)
            yield self._event([self._envelope.form.piece(index, text[sent:])])

    def _open(self, index: int) -> Iterator[bytes]:
        self._sent[index] = 0
        for choice in self._envelope.form.opening(index):
            yield self._event([choice])

    def _event(self, choices: list[Json]) -> bytes:
        return _event(self._envelope.part(choices))


def broken(error: Json) -> bytes:
    """The event that tells of a failure when the status has long been sent."""
    return _event(error)


def _event(content: Json) -> bytes:
    return b"data: " + json.dumps(content, allow_nan=False).encode() + b"\n\n"
