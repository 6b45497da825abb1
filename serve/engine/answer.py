"""A completion as it grows: scored tokens, their texts, and whether it has ended."""

from collections.abc import Collection
from dataclasses import replace

import torch

from serve.engine.base import FinishReason, GenRequest, GenResult, GenToken
from serve.engine.sampling import Score
from serve.stops import StopMatcher
from serve.text import Detokenizer, TextCodec


class Answer:
    """Collects the tokens of one request, whichever engine generates them.

    Args:
        request: what was asked.
        codec: the tokenizer of its token ids.
        eos_ids: the model's tokens that end an answer; they are not part of it.
    """

    def __init__(self, request: GenRequest, codec: TextCodec, eos_ids: frozenset[int]) -> None:
        self._request, self._codec = request, codec
        self._ends = request.ending(eos_ids)
        self._eos = self._ends - frozenset(request.ends)
        self._guide = request.grammar.guide() if request.grammar else None
        at_start = request.echo or len(request.prompt) == request.lead
        self._detokenizer = Detokenizer(codec, at_start=at_start)
        self._stops = _Stops(request.stops)
        self._prompt: list[GenToken] = []
        self._tokens: list[GenToken] = []
        self._end: GenToken | None = None
        self.finish_reason: FinishReason | None = None
        self._end_if_full()

    @property
    def barred(self) -> Collection[int]:
        """Ids that may not come next: before ``min_tokens``, what would end the answer.

        Under a grammar none: ``allowed`` tells it all.
        """
        return () if self._ripe or self._guide else self._ends

    @property
    def allowed(self) -> torch.Tensor | None:
        """Under a grammar, ``[vocabulary]`` of bool: which tokens may come next; None: any.

        EOS comes where the text is whole, and nowhere else. Before ``min_tokens`` nothing ends it
        that can go on.
        """
        if self._guide is None:
            return None
        allowed = self._guide.allowed.clone()
        allowed[_places(self._eos, allowed)] = False
        going_on = allowed.clone()
        going_on[_places(self._ends, allowed)] = False
        if not self._ripe and bool(going_on.any()):
            return going_on
        if self._guide.complete:
            allowed[_places(self._ends, allowed)] = True
        return allowed

    def add_prompt(self, tokens: list[int], scores: list[Score]) -> None:
        """Takes the next tokens of an echoed prompt."""
        pairs = zip(tokens, scores, strict=True)
        self._prompt += [self._scored(token, score, special=True) for token, score in pairs]

    def add(self, token: int, score: Score) -> None:
        """Takes the next new token; sets ``finish_reason`` when it ends the answer."""
        if token in self._ends:
            self._end_with(token, score)
            return
        self._tokens.append(self._scored(token, score))
        cut = self._stops.push(self._tokens[-1].text, self._codec.written(token))
        if cut is not None and self._ripe:
            self._tokens = cut_tokens(self._tokens, cut)
            self.finish_reason = "stop"
        elif self._request.enough and self._request.enough(self._new_text()):
            self.finish_reason = "stop"
        elif self._guide and self._guide.take(token):
            self.finish_reason = "eos"  # there is nothing that the model could add
        else:
            self._end_if_full()
        if self._request.shown and not self.finish_reason:
            self._request.shown(self._new_text()[: self._stops.settled()])

    def result(self) -> GenResult:
        """The finished answer."""
        assert self.finish_reason is not None
        if self.finish_reason != "stop":  # a stop ends the text before what is unfinished
            self._flush()
        return GenResult(tuple(self._tokens), self.finish_reason, tuple(self._prompt), self._end)

    @property
    def _ripe(self) -> bool:
        return len(self._tokens) >= self._request.min_tokens

    def _new_text(self) -> str:
        return "".join(token.text for token in self._tokens)

    def _end_if_full(self) -> None:
        if len(self._tokens) >= self._request.max_new_tokens:
            self.finish_reason = "length"

    def _end_with(self, token: int, score: Score) -> None:
        """Ends at EOS, or at a stop that the EOS completes and that began in the text before."""
        self._end = self._ending(token, score)
        length = self._stops.text.length
        cut = self._stops.push("", self._end.text)
        self.finish_reason = "eos" if cut in (None, length) else "stop"
        if cut is not None and cut < length:
            self._tokens = cut_tokens(self._tokens, cut)

    def _scored(self, token: int, score: Score, special: bool = False) -> GenToken:
        text = self._detokenizer.push(token, special)
        return self._named(token, text, score)

    def _ending(self, token: int, score: Score) -> GenToken:
        """The EOS, past the detokenizer: an unfinished character before it stays one."""
        text = self._codec.token_bytes(token, special=True).decode("utf-8", errors="replace")
        return self._named(token, text, score)

    def _named(self, token: int, text: str, score: Score) -> GenToken:
        names = self._codec.names([*(i for i, _ in score.candidates), token])
        best = tuple((names[i], value) for i, value in score.candidates)
        return GenToken(token, text, score.logprob, best, names[token])

    def _flush(self) -> None:
        """Gives a character that was left unfinished to the last token."""
        rest = self._detokenizer.flush()
        last = self._tokens or self._prompt
        if rest and last:
            last[-1] = replace(last[-1], text=last[-1].text + rest)


def _places(ids: Collection[int], mask: torch.Tensor) -> list[int]:
    """Those of the ids that the model has."""
    return [token for token in ids if token < mask.numel()]


class _Stops:
    """Stop sequences, looked for in the text, and in the text with its special tokens written out.

    In both: a special token has no text, so what stands on its two sides joins to a stop, too.

    Attributes:
        text: the matcher of the text itself.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self.text, self._written = StopMatcher(stops), StopMatcher(stops)
        self._specials: list[tuple[int, int]] = []  # place and length, with specials written out

    def push(self, piece: str, special: str | None) -> int | None:
        """Takes a token's text and, of a special token, how it is written.

        Returns:
            Where in the text the earliest stop starts; None so far.
        """
        if special:
            self._specials.append((self._written.length, len(special)))
        places = [self.text.push(piece), self._written.push(special or piece)]
        if places[1] is not None:
            places[1] = self._in_text(places[1])
        return min((place for place in places if place is not None), default=None)

    def settled(self) -> int:
        """How many characters of the text no stop can take back."""
        return min(self.text.settled(), self._in_text(self._written.settled()))

    def _in_text(self, place: int) -> int:
        """A place among what is written out, in characters of the text."""
        hidden = (max(0, min(length, place - start)) for start, length in self._specials)
        return place - sum(hidden)


def cut_tokens(tokens: list[GenToken], length: int) -> list[GenToken]:
    """The tokens of the first ``length`` characters; the last one's text is cut if it must be."""
    kept: list[GenToken] = []
    start = 0
    for token in tokens:
        if start >= length:
            break
        kept.append(replace(token, text=token.text[: length - start]))
        start += len(token.text)
    return kept
