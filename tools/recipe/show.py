"""The show verb: the resolved recipe as YAML, each value with the file and line it came from."""

from typing import Any

from tools.recipe import written, yaml_map
from tools.recipe.compose import shown
from tools.recipe.load import Loaded
from tools.recipe.yaml_map import Entry, full_key

DEFAULT = "default"


def show(loaded: Loaded) -> str:
    """The resolved recipe as YAML text; read back, it is the same recipe.

    Args:
        loaded: as ``tools.recipe.load.load`` gives it.
    """
    text = written.text(loaded.recipe)
    lines = text.splitlines()
    for entry in yaml_map.entries(yaml_map.compose(text)):
        origin = _origin(loaded.origins, entry)
        if origin:
            # Behind the value: long texts are quoted, and a | block would take the comment in.
            last = entry.last_line - 1
            lines[last] = f"{lines[last]}  # {origin}"
    files = ", ".join(shown(file) for file in loaded.files)
    return "\n".join([f"# recipe {loaded.recipe.name}, made of {files}", *lines])


def plain(loaded: Loaded) -> dict[str, Any]:
    """The resolved recipe as plain values, in the shape of a recipe file."""
    return written.tree(loaded.recipe)


def _origin(origins: dict[str, str], entry: Entry) -> str:
    """What to write behind an entry: nothing behind a section, whose values tell for themselves."""
    if not entry.leaf:
        return ""
    return origins.get(full_key(entry.path), DEFAULT)
