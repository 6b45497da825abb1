"""What a submission and its parts are called."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def slug(name: str) -> str:
    """A name that is safe in a path, in an address and in the tag of an image.

    The organizers turn ``/`` and ``-`` of the folder's path to ``_`` and lower its case to get the
    tag; a space in it breaks their command.
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run"


def tag(name: str) -> str:
    """The image's name, as the organizers would make it of the folder's."""
    return f"submission_{slug(name)}".replace("-", "_")


def make_words(name: str) -> str:
    """How Make is told the packed recipe: as ``HW=`` where there is such a card."""
    safe = slug(name)
    card = (ROOT / "recipes" / "hardware" / f"{safe}.yaml").is_file()
    return f"HW={safe}" if card else f"RECIPE=recipes/{safe}.yaml"
