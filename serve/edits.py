"""What an output rule does to an answer: cut, extract, format. Pure functions of its tokens.

Three things always hold:

- A step that would leave nothing visible is not done.
- The texts of the tokens concatenate to the text. A token cut in part keeps its logprob; text that
  is added becomes tokens with id -1, logprob 0 and no candidates.
- ``finish_reason`` says what ended the returned text: ``stop`` when a step changed it, because then
  the rule ended it and not the model (an engine that stops early for the rule says the same).
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from serve.config import Rule
from serve.engine.base import GenResult, GenToken
from serve.patterns import reach

Span = tuple[int, int]


class Edit:
    """The steps of one rule.

    Args:
        rule: without faults, see :func:`serve.rules.faults`.

    Attributes:
        can_settle: whether :meth:`settled` may ever say yes.
    """

    def __init__(self, rule: Rule) -> None:
        self._cuts = [re.compile(pattern, re.MULTILINE) for pattern in rule.cut]
        self._extract = re.compile(rule.extract, re.MULTILINE) if rule.extract else None
        self._before, _, self._after = (rule.format or "{x}").partition("{x}")
        # Where there is no bound, more text may always change the outcome.
        self._cut_reach = [reach(pattern) for pattern in self._cuts]
        self._extract_reach = reach(self._extract) if self._extract else None
        bounded = None not in self._cut_reach
        self.can_settle = bounded and (bool(self._cuts) or self._extract_reach is not None)

    def apply(self, result: GenResult) -> tuple[GenResult, tuple[str, ...]]:
        """The answer after the rule, and the names of the steps that changed it."""
        text = _text(result.tokens)
        end = self._cut(text)
        tokens = _slice(result.tokens, (0, end))
        steps: tuple[str, ...] = ("cut",) if end < len(text) else ()
        span = self._extracted(text[:end])
        if span:
            formatted = [*_added(self._before), *_slice(tokens, span), *_added(self._after)]
            if _text(formatted) != text[:end]:
                steps += ("extract",) if span != (0, end) else ()
                steps += ("format",) if self._before or self._after else ()
                tokens = formatted
        if not steps:
            return result, ()
        return replace(result, tokens=tuple(tokens), finish_reason="stop"), steps

    def settled(self, text: str) -> bool:
        """Whether :meth:`apply` gives the same text whatever comes after this one."""
        first = _first_visible(text) + 1
        if not self.can_settle or first > len(text):
            return False
        known = [far or 0 for far in self._cut_reach]
        farthest = max(known, default=0)
        found = [
            (match.start(), far)
            for pattern, far in zip(self._cuts, known, strict=True)
            if (match := pattern.search(text, first))
        ]
        if found:
            start, far = min(found)
            # The places before it must be seen to the end, too, if there are any.
            none_earlier = start == first or start - 1 + farthest <= len(text)
            return none_earlier and start + far <= len(text)
        match = self._extract.search(text) if self._extract else None
        if not match or self._extract_reach is None or not _visible(match):
            return False
        # No cut may yet begin in what the extraction has looked at.
        return match.start() + self._extract_reach + farthest <= len(text)

    def _cut(self, text: str) -> int:
        """Where the text ends; a match before which nothing is visible does not count."""
        first = _first_visible(text) + 1
        found = [match for pattern in self._cuts if (match := pattern.search(text, first))]
        return min((match.start() for match in found), default=len(text))

    def _extracted(self, text: str) -> Span | None:
        match = self._extract.search(text) if self._extract else None
        return match.span(1) if match and _visible(match) else None


def _visible(match: re.Match[str]) -> bool:
    return bool((match[1] or "").strip())


def _first_visible(text: str) -> int:
    """Place of the first character that is no white space; the text's length when there is none."""
    return len(text) - len(text.lstrip())


def _text(tokens: Sequence[GenToken]) -> str:
    return "".join(token.text for token in tokens)


def _added(text: str) -> list[GenToken]:
    """Text that no model wrote."""
    return [GenToken(-1, text, 0.0, ())] if text else []


def _slice(tokens: Sequence[GenToken], span: Span) -> list[GenToken]:
    """The tokens of the characters in ``span``, those at its ends cut where they must be."""
    start, end = span
    kept, place = [], 0
    for token in tokens:
        begin, place = place, place + len(token.text)
        inside = token.text[max(0, start - begin) : max(0, end - begin)]
        # A token without text is a part of the character that the next one completes.
        if inside or (not token.text and start <= begin < end):
            kept.append(replace(token, text=inside))
    return kept
