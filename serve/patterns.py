"""How far a regular expression looks: what lets an answer end as soon as a rule is sure of it."""

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

# The standard library's own parser; it has no public name (Python 3.12, as pyproject.toml asks).
_parser: Any = import_module("re._parser")


def reach(pattern: re.Pattern[str]) -> int | None:
    """How many characters, from any place on, decide whether and what the pattern matches there.

    Text behind them changes nothing, so a search that has seen so many is final: ``ab?`` needs 2,
    ``a(?=bc)`` 3, and ``a$`` 2, because ``$`` asks whether the text goes on.

    Returns:
        The number, never too small; None when there is no bound (``a*``).
    """
    tree = _parser.parse(pattern.pattern, pattern.flags)
    operations = [(str(name), argument) for name, argument in _operations(tree)]
    characters: int = tree.getwidth()[1]  # lookarounds count as nothing there
    characters += sum(
        argument[1].getwidth()[1]
        for name, argument in operations
        if name in ("ASSERT", "ASSERT_NOT") and argument[0] > 0  # ahead, not behind
    )
    # \b, $ and \Z look at the next character; ^ and \A do not.
    anchors = [str(argument) for name, argument in operations if name == "AT"]
    characters += any(not anchor.startswith("AT_BEGINNING") for anchor in anchors)
    return characters if characters < _parser.MAXREPEAT else None


def _operations(part: Any) -> Iterator[tuple[Any, Any]]:
    """Every (operation, argument) of a parse tree, at any depth."""
    if isinstance(part, _parser.SubPattern):
        for operation, argument in part:
            yield operation, argument
            yield from _operations(argument)
    elif isinstance(part, tuple | list):
        for inner in part:
            yield from _operations(inner)
