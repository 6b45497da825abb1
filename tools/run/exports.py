"""The forms that a finished model is exported in, each an output of its own in the run folder."""

from tools.recipe.formats import GGUF

GGUF_TYPES = GGUF
_PREFIX = "gguf_"
ONNX = "onnx"  # the stage, and FORMAT
ONNX_FOLDER = "export-onnx"  # relative to the run folder


def stage_of(kind: str) -> str:
    """The stage whose output is the GGUF of a type."""
    return f"{_PREFIX}{kind}"


def exported(stage: str) -> str:
    """What ``make export`` is told to make a stage's output; empty for what is no export."""
    if stage == ONNX:
        return f"FORMAT={ONNX}"
    return f"TYPE={stage.removeprefix(_PREFIX)}" if stage.startswith(_PREFIX) else ""


def folder_of(kind: str) -> str:
    """Where the GGUF of a type goes, relative to the run folder."""
    return f"export-gguf/{kind}"
