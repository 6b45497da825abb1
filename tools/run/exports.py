"""The forms that a finished model is exported in, each an output of its own in the run folder."""

from tools.recipe.formats import GGUF

GGUF_TYPES = GGUF
_PREFIX = "gguf_"


def stage_of(kind: str) -> str:
    """The stage whose output is the GGUF of a type."""
    return f"{_PREFIX}{kind}"


def exported(stage: str) -> str:
    """The type of the GGUF that a stage makes; empty for a stage that makes none."""
    return stage.removeprefix(_PREFIX) if stage.startswith(_PREFIX) else ""


def folder_of(kind: str) -> str:
    """Where it goes, relative to the run folder."""
    return f"export-gguf/{kind}"
