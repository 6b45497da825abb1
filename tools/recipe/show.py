"""The show verb: the resolved recipe as YAML, each value with the file and line it came from."""

import dataclasses
from typing import Any

from tools.recipe import yaml_map
from tools.recipe.compose import shown
from tools.recipe.load import Loaded
from tools.recipe.yaml_map import Entry, full_key

DEFAULT = "default"


def show(loaded: Loaded) -> str:
    """The resolved recipe as YAML text; read back, it is the same recipe.

    Args:
        loaded: as ``tools.recipe.load.load`` gives it.
    """
    from omegaconf import OmegaConf

    text = OmegaConf.to_yaml(plain(loaded))
    lines = text.splitlines()
    for entry in yaml_map.entries(yaml_map.compose(text)):
        origin = _origin(loaded.origins, entry)
        if origin:
            # Behind the value: to_yaml quotes long texts, and a | block would take the comment in.
            last = entry.last_line - 1
            lines[last] = f"{lines[last]}  # {origin}"
    files = ", ".join(shown(file) for file in loaded.files)
    return "\n".join([f"# recipe {loaded.recipe.name}, made of {files}", *lines])


def plain(loaded: Loaded) -> dict[str, Any]:
    """The resolved recipe as plain values, in the shape of a recipe file."""
    tree = dataclasses.asdict(loaded.recipe)
    del tree["name"]  # the file's name
    return tree


def _origin(origins: dict[str, str], entry: Entry) -> str:
    """What to write behind an entry: nothing behind a section, whose values tell for themselves."""
    if not entry.leaf:
        return ""
    return origins.get(full_key(entry.path), DEFAULT)
