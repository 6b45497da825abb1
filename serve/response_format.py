"""``response_format`` of OpenAI's requests: which JSON an answer is to be.

The HTTP process turns it into the text of a JSON schema; the worker has the engine's library
compile that (:mod:`serve.engine.grammar`).
"""

import asyncio
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from serve.engine.base import BadGrammar, Engine

if TYPE_CHECKING:  # needs torch, which the HTTP process does without
    from serve.engine.grammar import Grammar

#: The largest schema, in characters as JSON, and how deep it may nest.
MOST, DEEPEST = 32_000, 64

#: What takes any JSON object.
_OBJECT = {"type": "object"}

_SHAPES = (
    'must be {"type": "text"}, {"type": "json_object"} or'
    ' {"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}'
)

_MISSING = (
    "is not offered here: it needs the engine transformers or hf-dynamic, and the package"
    " llguidance (pip install llguidance); leave it out (or {'type': 'text'}, which changes"
    " nothing)"
)


def as_schema(value: Any) -> str | None:
    """The schema that an answer must follow, as JSON text; None: it may be any text.

    Raises:
        ValueError: it is none of the forms that OpenAI knows, or too large.
    """
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        schema = value.get("schema", _OBJECT)  # llama.cpp's way to give one
    elif kind == "json_schema" and isinstance(value.get("json_schema"), dict):
        schema = value["json_schema"].get("schema", _OBJECT)
    else:
        raise ValueError(_SHAPES)
    if not isinstance(schema, dict):
        raise ValueError("must have a schema that is an object")
    if not _shallow([schema], DEEPEST):
        raise ValueError(f"has a schema that nests deeper than {DEEPEST} levels")
    # In its own order: properties are written in that of the schema.
    text = json.dumps(schema, allow_nan=False)
    if len(text) > MOST:
        raise ValueError(f"has a schema of {len(text)} characters, at most {MOST} are taken")
    return text


def _shallow(values: Iterable[Any], levels: int) -> bool:
    """Whether the values nest no deeper; a level at a time, so that no depth is too much."""
    while nested := [value for value in values if isinstance(value, dict | list)]:
        if levels == 0:
            return False
        levels -= 1
        values = [
            one
            for value in nested
            for one in (value.values() if isinstance(value, dict) else value)
        ]
    return True


async def compiled(engine: Engine, schema: str | None) -> "Grammar | None":
    """The schema for this engine's vocabulary; compiled beside the event loop and the steps.

    Raises:
        BadGrammar: the engine cannot follow schemas, or not this one.
    """
    if schema is None:
        return None
    if engine.grammars is None:
        raise BadGrammar(_MISSING)
    # Shielded: it is compiled once for all who ask for it, and one of them may go.
    made = await asyncio.shield(asyncio.wrap_future(engine.grammars.submit(schema)))
    if isinstance(made, str):
        raise BadGrammar(made)
    return made
