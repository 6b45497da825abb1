"""What is wrong with a recipe's ``serve`` section beyond its shape: numbers, rules, adapters."""

import copy
import re
from collections.abc import Iterable
from typing import Any

from serve import limits, rules
from serve.config import ServeConfig
from tools.recipe.fill import fill
from tools.recipe.yaml_map import KeyPath


def serve_faults(section: Any, wrong: Iterable[KeyPath]) -> dict[KeyPath, tuple[str, bool]]:
    """Hold the section against what the worker would refuse at its start.

    Args:
        section: as composed.
        wrong: what of it the schema lets not through, from ``serve`` on; all else is looked at.

    Returns:
        As :func:`tools.recipe.faults.find`: by key path, what is wrong and that the key is not
        missing.
    """
    config = _well_shaped(section if isinstance(section, dict) else {}, wrong)
    found: dict[str, list[str]] = {}
    for key, text in [*limits.faults(config), *rules.faults(config.rules, config.adapters)]:
        found.setdefault(key, []).append(text)
    return {_path(key): ("; ".join(texts), False) for key, texts in found.items()}


def _well_shaped(section: dict[str, Any], wrong: Iterable[KeyPath]) -> ServeConfig:
    """The section without the settings that are wrong in kind; every one has a default."""
    kept = copy.deepcopy(section)
    for path in wrong:
        _drop(kept, path[1:])
    config: ServeConfig = fill(ServeConfig, kept)
    return config


def _drop(section: dict[str, Any], path: KeyPath) -> None:
    """Take out the innermost key of a path: of a list, all of it."""
    inner: tuple[Any, Any] | None = None
    for part in path:
        if not isinstance(section, dict) or part not in section:
            break
        inner, section = (section, part), section[part]
    if inner:
        del inner[0][inner[1]]


def _path(key: str) -> KeyPath:
    """``rules.choice.cut[0]`` as keys and indexes, from ``serve`` on."""
    parts = re.findall(r"[^.\[\]]+|\[\d+\]", key)
    return ("serve", *(int(part[1:-1]) if part[0] == "[" else part for part in parts))
