"""What is wrong with a recipe's ``serve`` section beyond its shape: numbers, rules, adapters."""

import functools
import re
from typing import Any

from serve import limits, rules
from serve.config import ServeConfig
from tools.recipe.yaml_map import KeyPath


def serve_faults(section: Any) -> dict[KeyPath, tuple[str, bool]]:
    """Hold the section against what the worker would refuse at its start.

    Args:
        section: as composed; what is wrong in shape is left to the schema, and all else looked at.

    Returns:
        As :func:`tools.recipe.faults.find`: by key path, what is wrong and that the key is not
        missing.
    """
    config = _well_shaped(section if isinstance(section, dict) else {})
    found: dict[str, list[str]] = {}
    for key, text in [*limits.faults(config), *rules.faults(config.rules, config.adapters)]:
        found.setdefault(key, []).append(text)
    return {_path(key): ("; ".join(texts), False) for key, texts in found.items()}


@functools.cache
def _adapter() -> Any:
    """Pydantic's validator of the settings."""
    from pydantic import TypeAdapter

    return TypeAdapter(ServeConfig)


def _well_shaped(section: dict[str, Any]) -> ServeConfig:
    """The section without the settings, and the rules, that are wrong in kind."""
    from pydantic import ValidationError

    adapter = _adapter()
    try:
        return adapter.validate_python(section)
    except ValidationError as error:
        # Two deep: of the rules only the wrong one is left out, and the others are looked at.
        wrong = {tuple(map(str, fault["loc"][:2])) for fault in error.errors()}
    kept = {key: value for key, value in section.items() if (key,) not in wrong}
    for key, *name in wrong:
        if name and isinstance(kept.get(key), dict):
            kept[key] = {one: value for one, value in kept[key].items() if one != name[0]}
        else:
            kept.pop(key, None)
    return adapter.validate_python(kept)


def _path(key: str) -> KeyPath:
    """``rules.choice.cut[0]`` as keys and indexes, from ``serve`` on."""
    parts = re.findall(r"[^.\[\]]+|\[\d+\]", key)
    return ("serve", *(int(part[1:-1]) if part[0] == "[" else part for part in parts))
