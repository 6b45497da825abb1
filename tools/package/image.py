"""The submission's Dockerfile: the card's own, with the recipe's words as defaults.

Organizers build with plain ``docker build``: no build argument can be asked of them.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from tools.recipe.schema import Recipe

CPU_TORCH = "https://download.pytorch.org/whl/cpu"
HEAD = """\
# Recipe {name}. Two images from one file (Docker 23 or newer builds only what a target needs):
#   docker build -t oneday .                         the worker, port 80 (default)
#   docker build --target train -t oneday-train .    the whole day
"""


def adapt(root: Path, recipe: Recipe, call: str, rows: Sequence[str]) -> str:
    """The text.

    Args:
        root: the repository.
        recipe: whose device decides which packages are installed.
        call: how Make is told the recipe.
        rows: the user's own data files, for the train image.
    """
    card = recipe.hardware.track if recipe.hardware.track != "none" else "4090"
    text = (root / f"Dockerfile.{card}").read_text(encoding="utf-8")
    head = text.split("# Bases are pinned", 1)[0]
    text = HEAD.format(name=recipe.name) + text[len(head) :]
    text = _replaced(text, r'"HW=\w+"', f'"{call}"')
    if recipe.hardware.device == "cpu":
        text = _replaced(text, r"^ARG DEVICE=.*$", "ARG DEVICE=cpu")
        text = _replaced(text, r"^ARG TORCH_INDEX=.*$", f"ARG TORCH_INDEX={CPU_TORCH}")
        text = _replaced(text, r"^# cpu, with TORCH_INDEX=.*\n", "")
    copies = "".join(f"\nCOPY {path} {path}" for path in rows)
    return _replaced(text, r"^COPY tools tools$", f"COPY tools tools{copies}")


def ignore(root: Path, rows: Sequence[str]) -> str:
    """The text of ``.dockerignore``."""
    text = (root / ".dockerignore").read_text(encoding="utf-8")
    return text + "".join(f"!{path}\n" for path in rows)


def _replaced(text: str, pattern: str, new: str) -> str:
    # A function: in a replacement text re would read backslashes.
    made, count = re.subn(pattern, lambda match: new, text, flags=re.MULTILINE)
    if count != 1:
        raise RuntimeError(f"the Dockerfile has {count} lines like {pattern}, not one")
    return made
