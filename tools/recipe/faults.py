"""Validation errors in the user's words: the key, what is wrong, the nearest right spelling."""

import difflib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from tools.recipe.yaml_map import KeyPath, full_key

_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "array": "a list",
    "object": "a mapping",
}
_FEW = 12  # longer lists of names are not printed
_SHORT = 60  # nor more characters of a value
_LONG = 200  # longer words are near to nothing, and take long to compare
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_BOOLEANS = ("true", "false", "yes", "no", "on", "off")


def nearest(word: str, known: Iterable[Any], prefix: str = "") -> str:
    """``; did you mean X?`` with the nearest of the known words, or nothing when none is near."""
    spelt = {str(one).lower(): str(one) for one in known}
    near = difflib.get_close_matches(word[:_LONG].lower(), spelt, n=1)
    return f"; did you mean {prefix}{spelt[near[0]]}?" if near else ""


def find(tree: Any, schema: dict[str, Any]) -> dict[KeyPath, tuple[str, bool]]:
    """Hold a tree against a JSON schema.

    Args:
        tree: plain values, as read from YAML.
        schema: Draft 2020-12, its definitions under ``$defs``.

    Returns:
        By key path, what is wrong there and whether it is that the key is missing.
    """
    from jsonschema_rs import Draft202012Validator

    found: dict[KeyPath, tuple[str, bool]] = {}
    odd: dict[KeyPath, str] = {}
    for error in Draft202012Validator(schema).iter_errors(_plain(tree, (), odd)):
        for path, text, missing in _describe(error, tree, schema):
            found.setdefault(path, (text, missing))
    for path, text in odd.items():
        found.setdefault(path, (text, False))
    meant = {text.split("did you mean ")[-1] for text, _ in found.values()}
    return {
        path: (text, missing)
        for path, (text, missing) in found.items()
        if not (missing and f"{full_key(path)}?" in meant)  # misspelt is enough said
    }


def _plain(tree: Any, path: KeyPath, odd: dict[KeyPath, str]) -> Any:
    """The tree, null where YAML has more than JSON, of which the validator would know no word."""
    if isinstance(tree, dict):
        return {key: _plain(value, (*path, key), odd) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_plain(value, (*path, index), odd) for index, value in enumerate(tree)]
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    odd[path] = f"must be a text, a number, a list or a mapping, not {_short(tree)}"
    return None


def _describe(error: Any, tree: Any, schema: dict[str, Any]) -> Iterator[tuple[KeyPath, str, bool]]:
    path: KeyPath = tuple(error.instance_path)
    keyword, wanted = error.kind.name, error.kind.value
    instance, part = _at(tree, path), _at(schema, error.schema_path[:-1])
    if keyword == "additionalProperties":
        known = part.get("properties", {})
        for key in instance:
            if key not in known:
                yield (*path, str(key)), _unknown(path, str(key), known, schema), False
    elif keyword == "required":
        yield (*path, wanted), f"missing; add it, {_kind(part['properties'][wanted], schema)}", True
    elif keyword == "anyOf" and (branch := _branch(error)):
        for below in branch:
            yield from _describe(below, tree, schema)
    elif keyword in ("type", "enum", "const", "anyOf"):
        yield path, _mismatch(instance, part, schema), False
    elif keyword in _BOUNDS:
        yield path, f"must be {_BOUNDS[keyword]} {wanted}, not {_short(instance)}", False
    else:
        yield path, error.message[:_LONG], False


def _at(tree: Any, path: Iterable[Any]) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def _unknown(path: KeyPath, key: str, known: dict[str, Any], schema: dict[str, Any]) -> str:
    prefix = f"{full_key(path)}." if path else ""
    above, _, below = key.partition(".")
    if below and above in known:
        return f"unknown key; a dot nests nothing here: write {above}: with {below} below it"
    if near := nearest(key, known, prefix):
        return f"unknown key{near}"
    sections = {name: _target(part, schema) for name, part in schema["properties"].items()}
    homes = [name for name, part in sections.items() if key in part.get("properties", {})]
    if homes:
        return f"unknown key; did you mean {homes[0]}.{key}?"
    some = f"; the keys here are {', '.join(known)}" if len(known) <= _FEW else "; remove it"
    return f"unknown key{some}"


def _branch(error: Any) -> list[Any]:
    """The alternative that was meant: right in kind, fewest errors; empty when there is none."""
    fitting = [
        group
        for group in error.kind.context
        if all(
            below.instance_path != error.instance_path
            or below.kind.name in ("additionalProperties", "required")
            for below in group
        )
    ]
    return min(fitting, key=len, default=[])


def _mismatch(value: Any, wanted: dict[str, Any], schema: dict[str, Any]) -> str:
    kinds, names = _alternatives(wanted, schema)
    if names and (isinstance(value, str) or not kinds):
        few = f"one of {', '.join(names)}" if len(names) > 1 else names[0]
        others = [kind for kind in kinds if kind != _WORDS["string"]]  # of texts, only the named
        listed = " or ".join([few if len(names) <= _FEW else "a known name", *others])
        hint = nearest(str(value), names) or _hint(value, kinds)
        return f"must be {listed}, not {_short(value)}{hint}"
    return f"must be {' or '.join([*kinds, *names])}, not {_short(value)}{_hint(value, kinds)}"


def _hint(value: Any, kinds: list[str]) -> str:
    """Quotes are what is most often wrong."""
    if isinstance(value, str):
        plain = _numeric(value) or (value.lower() in _BOOLEANS and _WORDS["boolean"] in kinds)
        return "; drop the quotes" if plain else ""
    if _WORDS["string"] not in kinds or not isinstance(value, bool | int | float):
        return ""
    why = "YAML reads yes, no, on and off so; " if isinstance(value, bool) else ""
    return f"; {why}put it in quotes"


def _kind(wanted: dict[str, Any], schema: dict[str, Any]) -> str:
    kinds, names = _alternatives(wanted, schema)
    return " or ".join([*kinds, *names])


def _alternatives(wanted: dict[str, Any], schema: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Kinds of values, in words, and names that a schema allows; null is never worth a word."""
    wanted = _target(wanted, schema)
    if "anyOf" in wanted:
        parts = [_alternatives(part, schema) for part in wanted["anyOf"]]
        kinds = dict.fromkeys(kind for found, _ in parts for kind in found)
        return list(kinds), [name for _, found in parts for name in found]
    if "enum" in wanted or "const" in wanted:
        return [], [str(name) for name in wanted.get("enum", [wanted.get("const")])]
    kind = wanted.get("type", "string")
    return ([] if kind == "null" else [_WORDS[kind]]), []


def _target(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    target: dict[str, Any] = schema["$defs"][part["$ref"].split("/")[-1]]
    return target


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."
