"""What a schema cannot say of the operators that a recipe lists, in the user's words."""

import re
from collections.abc import Iterator
from typing import Any

from tools.recipe.faults import nearest
from tools.recipe.operators.declared import NOT_FOR_MAKERS, OPERATORS
from tools.recipe.yaml_map import KeyPath


def operator_faults(section: Any) -> dict[KeyPath, tuple[str, bool]]:
    """What a schema cannot say of the operators in a recipe's ``data`` section.

    Args:
        section: as composed; what is wrong in shape otherwise is left to the schema.

    Returns:
        As :func:`tools.recipe.faults.find`: by key path, what is wrong and that the key is not
        missing.
    """
    found: dict[KeyPath, tuple[str, bool]] = {}
    if not isinstance(section, dict):
        return found
    sources = section.get("sources")
    lists: list[tuple[KeyPath, Any, str]] = [(("data", "operators"), section.get("operators"), "")]
    for name, source in sources.items() if isinstance(sources, dict) else []:
        if isinstance(source, dict):
            key = ("data", "sources", str(name), "operators")
            lists.append((key, source.get("operators"), str(source.get("kind"))))
    for path, steps, kind in lists:
        for index, step in enumerate(steps if isinstance(steps, list) else []):
            for below, text in _wrong(step, kind):
                found[*path, index, *below] = (text, False)
    return found


def _wrong(step: Any, kind: str) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with one step: where below it, and what."""
    if isinstance(step, str) and step in OPERATORS:
        yield (), f"must be a mapping; write {step}: {{}}"
    if not isinstance(step, dict):
        return
    if len(step) != 1:
        names = f", not {', '.join(map(str, step))}" if step else ""
        yield (), f"one operator a list item{names}; begin each with a dash of its own"
    for name, options in step.items():
        if name not in OPERATORS:
            yield (str(name),), _unknown(str(name))
        elif kind == "generator" and name in NOT_FOR_MAKERS:
            yield (name,), f"not for a generator: {NOT_FOR_MAKERS[name]}; remove it"
        elif options is None:
            yield (name,), f"no options; write {name}: {{}} when it shall have none"
        elif isinstance(options, dict):
            yield from (((name, *at), text) for at, text in _options(name, options))


def _unknown(name: str) -> str:
    near = nearest(name, OPERATORS)
    return f"unknown operator{near}" if near else f"unknown operator; there are {_names()}"


def _names() -> str:
    return ", ".join(OPERATORS)


def _options(name: str, options: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Options that do not go together, or mean nothing."""
    for key in ("pattern", "matches", "lacks"):
        if isinstance(options.get(key), str) and (fault := _expression(options[key])):
            yield (key,), fault
    if name in ("allow", "deny") and options.get("values") == []:
        yield ("values",), "empty; list the values"
    if name == "map" and bool(options.get("values")) == bool(options.get("pattern")):
        yield (), "give values, or pattern and to, and not both"
    if name == "sample" and not any((options.get("n"), options.get("share"), "below" in options)):
        yield (), "give n, share or below"
    if name == "sample" and options.get("n") and options.get("share"):
        yield (), "n and share: one of them decides; remove the other"
    if name == "score" and (options.get("by") == "rouge_l") != bool(options.get("against")):
        yield (), "rouge_l needs against: the field with the other text; the others take none"
    if name == "decontaminate" and options.get("helm") is False and not options.get("files"):
        yield (), "against nothing; list files, or leave helm on"
    if name == "filter":
        yield from _bounds(options)
    if name == "split" and not _below(options.get("start", 0), options.get("stop", 1)):
        yield (), "start must be below stop: nothing lies between them"


def _bounds(options: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    if not any(value for key, value in options.items() if key not in ("column", "tokenizer")):
        yield (), "bounds nothing; give max_words, matches, language or another bound"
    for unit in ("words", "characters", "tokens"):
        least, most = options.get(f"min_{unit}"), options.get(f"max_{unit}")
        if isinstance(least, int) and isinstance(most, int) and least > most > 0:
            yield (f"min_{unit}",), f"{least} is more than max_{unit}, {most}: no row can stay"
    tokens = options.get("min_tokens") or options.get("max_tokens")
    if bool(tokens) != bool(options.get("tokenizer")):
        yield (
            (),
            "max_tokens and min_tokens need tokenizer, a tokenizer.json; nothing else does",
        )


def _below(start: Any, stop: Any) -> bool:
    numbers = isinstance(start, int | float) and isinstance(stop, int | float)
    return not numbers or start < stop


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        return f"no regular expression ({error}); put a backslash before a sign that is meant"
    return ""
