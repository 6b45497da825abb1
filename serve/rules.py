r"""Output rules: what the recipe's ``serve.rules`` does to requests and to their answers.

The first rule that matches a request is the one applied, in this order: match, route (``adapter``,
or several by ``ensemble``), wrap, generate with the rule's stop strings beside the request's, cut,
extract, format. What cut, extract and format keep true is in :mod:`serve.edits`. Of a model that
can write no capitals an answer of one letter is given as a capital, whichever rule matches or none.

All regular expressions are searched with ``re.MULTILINE``: ``^`` and ``$`` are at every line,
``\A`` and ``\Z`` at the ends of the text.

Python's ``re`` cannot be interrupted. Write patterns that cannot backtrack without end (no
``(a*)*``, one ``[\s\S]*`` at most); what they read is bounded: ``LOOK`` characters of a prompt, and
a completion of at most the context's tokens.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from serve import ensemble
from serve.config import Match, Rule
from serve.edits import Edit
from serve.engine.base import GenResult, GenToken

#: Characters at a prompt's end that are looked at. The contract's 2048 tokens are about 10,000.
LOOK = 32_768
#: What the rule of capitals calls itself and its step among the hits of rules.
CAPITAL = "capital_letter"
_NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)  # what --set keys and metric labels can hold

Fault = tuple[str, str]


class RuleFault(ValueError):
    """Rules that cannot work.

    Attributes:
        faults: (key relative to ``serve``, what is wrong), all of them.
    """

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("\n".join(f"{key}: {text}" for key, text in faults))


@dataclass(frozen=True)
class Plan:
    """What one rule wants of one request.

    Attributes:
        name: the rule's.
        adapter: who answers; None: the model itself.
        ensemble: several that are asked in its place, see :mod:`serve.ensemble`; none: one is.
        prompt: the request's, wrapped when the rule wraps.
        wrapped: whether it was.
        stops: strings that end the text, beside the request's.
        enough: asked with the new text after each token: True when more of it would not change the
            text that ``finish`` gives; None when the rule can never tell.
    """

    name: str
    adapter: str | None
    ensemble: tuple[str | None, ...]
    prompt: str
    wrapped: bool
    stops: tuple[str, ...]
    enough: Callable[[str], bool] | None
    _edit: Edit
    _capitals: bool = False

    def finish(self, result: GenResult) -> tuple[GenResult, tuple[str, ...]]:
        """The answer to give, and which of cut, extract and format changed it, in that order."""
        finished, steps = self._edit.apply(result)
        capital = capital_letter(finished) if self._capitals else finished
        return capital, (*steps, CAPITAL) if capital is not finished else steps


class Rules:
    """The rules of a recipe, ready to be applied; pure, so safe from any thread.

    Args:
        rules: by name, in the order they are tried.

    Raises:
        RuleFault: some cannot work; adapters are not looked at, :func:`faults` does.
    """

    def __init__(self, rules: dict[str, Rule]) -> None:
        listed = ([rule.adapter, *rule.ensemble] for rule in rules.values())
        adapters = {name for names in listed for name in names if name}
        if found := faults(rules, adapters):
            raise RuleFault(found)
        self._rules = [(name, rule, Edit(rule)) for name, rule in rules.items()]

    def pick(self, prompt: str, max_new_tokens: int, capitals: bool = False) -> Plan | None:
        """What the first rule that matches wants; None when none does.

        Args:
            prompt: as the request has it.
            max_new_tokens: as the request has it.
            capitals: an answer of one letter becomes a capital, also where no rule matches.
        """
        seen = prompt[-LOOK:]
        for name, rule, edit in self._rules:
            if _matches(rule.match, seen, max_new_tokens):
                return _plan(name, rule, edit, prompt, capitals)
        return _plan(CAPITAL, Rule(), Edit(Rule()), prompt, True) if capitals else None


def capital_letter(result: GenResult) -> GenResult:
    """An answer of one letter, blanks aside, as a capital; any other as it is.

    HELM compares the letter of a multiple choice as it is written in the prompt. The candidates of
    the letter's place are written likewise.
    """
    text = "".join(token.text for token in result.tokens).strip()
    if len(text) != 1 or not text.isascii() or not text.islower():
        return result
    return replace(result, tokens=tuple(map(_capital, result.tokens)))


def _capital(token: GenToken) -> GenToken:
    best = tuple((_upper(name), score) for name, score in token.candidates)
    return replace(token, text=_upper(token.text), name=_upper(token.name), candidates=best)


def _upper(text: str) -> str:
    """A single letter, blanks aside, as a capital."""
    return text.upper() if len(text.strip()) == 1 and text.isascii() else text


def _plan(name: str, rule: Rule, edit: Edit, prompt: str, capitals: bool) -> Plan:
    return Plan(
        name=name,
        adapter=rule.adapter,
        ensemble=tuple(name or None for name in rule.ensemble),
        # Not str.format: all other braces of the template are text.
        prompt=rule.wrap.replace("{prompt}", prompt) if rule.wrap else prompt,
        wrapped=bool(rule.wrap),
        stops=tuple(rule.stop),
        enough=edit.settled if edit.can_settle else None,
        _edit=edit,
        _capitals=capitals,
    )


def _matches(match: Match, prompt: str, max_new_tokens: int) -> bool:
    if match.max_new_tokens not in (None, max_new_tokens):
        return False
    blank = blank_lines(prompt)
    least = match.min_blank_lines or 0
    most = blank if match.max_blank_lines is None else match.max_blank_lines
    if not least <= blank <= most:
        return False
    return match.prompt is None or re.search(match.prompt, prompt, re.MULTILINE) is not None


def blank_lines(prompt: str) -> int:
    """Lines without anything visible, those at the prompt's two ends left out."""
    return sum(not line.strip() for line in prompt.strip().split("\n")[1:-1])


def faults(rules: dict[str, Rule], adapters: Collection[str]) -> list[Fault]:
    """What cannot work, all of it.

    Args:
        rules: by name, in the order they are tried.
        adapters: names that ``adapter`` may have.

    Returns:
        (key relative to ``serve``, what is wrong and what to do), in the order of the rules.
    """
    found: list[Fault] = []
    for place, (name, rule) in enumerate(rules.items()):
        here = _rule_faults(rule, adapters)
        if not _NAME.fullmatch(name):
            here.append(("", "a rule's name is made of letters, digits, _ and -"))
        if rule.match == Match() and place < len(rules) - 1:
            wish = "it matches every request, so the rules after it are never tried; put it last"
            here.append(("match", wish))
        found += [(f"rules.{name}.{key}".rstrip("."), text) for key, text in here]
    return found


def _rule_faults(rule: Rule, adapters: Collection[str]) -> list[Fault]:
    return [
        *_match_faults(rule.match),
        *_adapter_faults(rule.adapter, adapters),
        *ensemble.faults(rule, adapters),
        *_template_faults("wrap", rule.wrap, "{prompt}"),
        *((f"stop[{i}]", "is empty; remove it") for i, stop in enumerate(rule.stop) if not stop),
        *(fault for i, text in enumerate(rule.cut) for fault in _regex_faults(f"cut[{i}]", text)),
        *_extract_faults(rule.extract),
        *_template_faults("format", rule.format, "{x}"),
        *([("format", "needs extract, whose group 1 is its {x}")] if _lone_format(rule) else []),
    ]


def _lone_format(rule: Rule) -> bool:
    return rule.format is not None and rule.extract is None


def _match_faults(match: Match) -> list[Fault]:
    found = _regex_faults("match.prompt", match.prompt) if match.prompt is not None else []
    if match.max_new_tokens is not None and match.max_new_tokens < 1:
        text = f"must be at least 1, not {match.max_new_tokens}: no rule is for scoring"
        found.append(("match.max_new_tokens", text))
    least, most = match.min_blank_lines or 0, match.max_blank_lines
    if least < 0:
        found.append(("match.min_blank_lines", f"must be 0 or more, not {least}"))
    if most is not None and most < max(0, least):
        text = f"must be {max(0, least)} or more, not {most}: no prompt would match"
        found.append(("match.max_blank_lines", text))
    return found


def _adapter_faults(adapter: str | None, adapters: Collection[str]) -> list[Fault]:
    if adapter is None or adapter in adapters:
        return []
    return [("adapter", ensemble.unknown(adapter, adapters))]


def _template_faults(key: str, template: str | None, place: str) -> list[Fault]:
    if template is None or template.count(place) == 1:
        return []
    return [(key, f"must hold {place} once, not {template.count(place)} times")]


def _extract_faults(pattern: str | None) -> list[Fault]:
    if pattern is None:
        return []
    if found := _regex_faults("extract", pattern):
        return found
    if not re.compile(pattern).groups:
        return [("extract", "has no group; put what is wanted into (…)")]
    return []


def _regex_faults(key: str, pattern: str) -> list[Fault]:
    if not pattern:
        return [(key, "is empty; remove it")]
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        # Beside re.error: OverflowError of a{99999999999}, RecursionError of endless brackets.
        return [(key, f"{pattern!r} is no regular expression: {error}")]
    return []
