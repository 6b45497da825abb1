"""The operators on rows that a recipe may list, and their options.

``data.sources.NAME.operators`` is a list of mappings of one key, carried out in order::

    operators:
      - deny: {column: task_name, values: ["*_mmmlu_*"]}
"""

from dataclasses import dataclass
from typing import Any, TypedDict

from tools.recipe.yaml_map import KeyPath


@dataclass
class Allow:
    """Only rows stay whose field has one of some values.

    Attributes:
        column: the field.
        values: shell patterns, case and all: ``task13*`` is every task that begins so.
    """

    column: str
    values: list[str]


@dataclass
class Deny:
    """Rows leave whose field has one of some values.

    Attributes:
        column: the field.
        values: shell patterns, case and all: ``task13*`` is every task that begins so.
    """

    column: str
    values: list[str]


class Step(TypedDict, total=False):
    """One operator of a list and its options."""

    allow: Allow
    deny: Deny


OPERATORS = tuple(Step.__annotations__)


def operator_faults(section: Any) -> dict[KeyPath, tuple[str, bool]]:
    """What a schema cannot say of the operators in a recipe's ``data`` section.

    Args:
        section: as composed; what is wrong in shape otherwise is left to the schema.

    Returns:
        As :func:`tools.recipe.faults.find`: by key path, what is wrong and that the key is not
        missing.
    """
    found: dict[KeyPath, tuple[str, bool]] = {}
    sources = section.get("sources") if isinstance(section, dict) else None
    for name, source in sources.items() if isinstance(sources, dict) else []:
        steps = source.get("operators") if isinstance(source, dict) else None
        for index, step in enumerate(steps if isinstance(steps, list) else []):
            path = ("data", "sources", str(name), "operators", index)
            if isinstance(step, dict) and len(step) != 1:
                found[path] = ("one operator a list item; begin each with a dash of its own", False)
            elif isinstance(step, dict) and source.get("kind") == "generator":
                found[path] = ("not for a generator: its rows have no fields; remove it", False)
    return found
