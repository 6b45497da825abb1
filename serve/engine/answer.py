"""A completion as it grows: scored tokens, their texts, and whether it has ended."""

from dataclasses import replace

from serve.engine.base import FinishReason, GenRequest, GenResult, GenToken
from serve.engine.sampling import Score
from serve.text import Detokenizer, StopMatcher, TextCodec


class Answer:
    """Collects the tokens of one request, whichever engine generates them.

    Args:
        request: what was asked.
        codec: the tokenizer of its token ids.
        eos_ids: tokens that end an answer; they are not part of it.
    """

    def __init__(self, request: GenRequest, codec: TextCodec, eos_ids: frozenset[int]) -> None:
        self._request, self._codec, self._eos_ids = request, codec, eos_ids
        at_start = request.echo or len(request.prompt) == request.lead
        self._detokenizer = Detokenizer(codec, at_start=at_start)
        self._stops = StopMatcher(request.stops)
        self._prompt: list[GenToken] = []
        self._tokens: list[GenToken] = []
        self._end: GenToken | None = None
        self.finish_reason: FinishReason | None = None
        self._end_if_full()

    def add_prompt(self, tokens: list[int], scores: list[Score]) -> None:
        """Takes the next tokens of an echoed prompt."""
        pairs = zip(tokens, scores, strict=True)
        self._prompt += [self._scored(token, score, special=True) for token, score in pairs]

    def add(self, token: int, score: Score) -> None:
        """Takes the next new token; sets ``finish_reason`` when it ends the answer."""
        if token in self._eos_ids:
            self.finish_reason = "eos"
            self._end = self._ending(token, score)
            return
        self._tokens.append(self._scored(token, score))
        cut = self._stops.push(self._tokens[-1].text)
        if cut is not None:
            self._tokens = cut_tokens(self._tokens, cut)
            self.finish_reason = "stop"
        elif self._request.enough and self._request.enough(self._new_text()):
            self.finish_reason = "stop"
        else:
            self._end_if_full()

    def result(self) -> GenResult:
        """The finished answer."""
        assert self.finish_reason is not None
        if self.finish_reason != "stop":  # a stop ends the text before what is unfinished
            self._flush()
        return GenResult(tuple(self._tokens), self.finish_reason, tuple(self._prompt), self._end)

    def _new_text(self) -> str:
        return "".join(token.text for token in self._tokens)

    def _end_if_full(self) -> None:
        if len(self._tokens) >= self._request.max_new_tokens:
            self.finish_reason = "length"

    def _scored(self, token: int, score: Score, special: bool = False) -> GenToken:
        text = self._detokenizer.push(token, special)
        return GenToken(token, text, score.logprob, self._candidates(score))

    def _ending(self, token: int, score: Score) -> GenToken:
        """The EOS, past the detokenizer: an unfinished character before it stays one."""
        text = self._codec.token_bytes(token, special=True).decode("utf-8", errors="replace")
        return GenToken(token, text, score.logprob, self._candidates(score))

    def _candidates(self, score: Score) -> tuple[tuple[str, float], ...]:
        return tuple((self._codec.token_text(i), value) for i, value in score.candidates)

    def _flush(self) -> None:
        """Gives a character that was left unfinished to the last token."""
        rest = self._detokenizer.flush()
        last = self._tokens or self._prompt
        if rest and last:
            last[-1] = replace(last[-1], text=last[-1].text + rest)


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
