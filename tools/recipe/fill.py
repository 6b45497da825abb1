"""A tree that its JSON schema lets through, as the dataclasses it describes.

Not by pydantic, which made the schema (``editor_schema``): to import it and to build its validators
took a third of a ``make check``, and would only look at the values a second time.
"""

import functools
import types
from dataclasses import is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict


def fill(kind: Any, value: Any) -> Any:
    """Make what a type says of plain values.

    Args:
        kind: a dataclass, a ``TypedDict``, a list, a mapping, one of these or None, or a plain type
            of what YAML and JSON have.
        value: valid by the kind's JSON schema.

    Returns:
        The dataclass, or the value; a whole number where a ``float`` is asked for becomes one, and
        a float without a fraction an ``int``.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):  # something or nothing: a recipe has no other union
        (kind,) = (one for one in inner if one is not types.NoneType)
        return None if value is None else fill(kind, value)
    if origin is list:
        return [fill(inner[0], part) for part in value]
    if origin is dict:
        return {key: fill(inner[1], part) for key, part in value.items()}
    if is_dataclass(kind) or is_typeddict(kind):
        hints = _hints(kind)
        return kind(**{key: fill(hints[key], part) for key, part in value.items()})
    return kind(value) if kind in (int, float) else value


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)  # without Annotated's bounds, which the schema has held
