"""What ONNX Runtime answers of exported files, held against what the merged model answers.

Both compute in float32, in another order: logits are apart by rounding alone, and where the merged
model's two best are as good as equal rounding chooses (``tools.export.asking``: a tie of F32).
"""

import dataclasses
from pathlib import Path
from typing import Any

from tools.errors import StageError
from tools.export.asking import STEPS, TIE, Greedy, greedy
from tools.export.onnx.merged import Merged

MOST = 1e-3  # of the largest logit: how far apart logits may be


def request(folder: Path, own: Merged, logits: Path, threads: int) -> dict[str, Any]:
    """What ``engine.py`` is asked of the files in a folder."""
    return {
        "folder": str(folder),
        "lines": own.lines.ids,
        "places": own.lines.places,
        "start": own.start,
        "steps": STEPS,
        "padding": own.padding,
        "logits": str(logits),
        "threads": threads,
    }


def apart(own: Merged, file: Path) -> float:
    """The largest distance of two logits of a first token, as a share of the largest logit.

    Args:
        own: what the merged model says.
        file: what ONNX Runtime has written.
    """
    import numpy

    told = numpy.fromfile(file, numpy.float32)
    if told.size != own.logits.size:
        return float("inf")
    distance = numpy.abs(told.reshape(own.logits.shape) - own.logits).max()
    return float(distance / numpy.abs(own.logits).max())


def faults(own: Merged, seen: Greedy, distance: float) -> list[str]:
    """What is wrong with the files, a line each."""
    found = []
    if not distance <= MOST:  # so put, NaN does not pass
        found.append(
            f"logits of the first token of {len(own.greedy)} prompts are up to {distance:.3g} of "
            f"the largest one apart from the merged model's, more than {MOST:g}"
        )
    if other := seen.prompts - seen.equal - seen.ties:
        found.append(f"greedy text of {other} of {seen.prompts} prompts is not the merged one's")
    return found


def held(own: Merged, told: dict[str, Any], logits: Path) -> dict[str, Any]:
    """What goes into the record of files that are right.

    Raises:
        StageError: they are not.
    """
    seen, distance = greedy(own, told["greedy"], TIE["F32"]), apart(own, logits)
    if wrong := faults(own, seen, distance):
        raise StageError("export: the ONNX files are not the merged model: " + "; ".join(wrong))
    return {
        "type": "F32",
        "greedy": dataclasses.asdict(seen),
        "logits_apart": distance,
        "max_logits_apart": MOST,
        "engine": told["engine"],
        "parameters": own.parameters,
    }


def said(record: dict[str, Any]) -> str:
    """The figures for a user, a line each."""
    seen = record["greedy"]
    ties = f", {seen['ties']} part at a tie" if seen["ties"] else ""
    one = "the likeliest token" if seen["ids"] == seen["prompts"] else "greedy text"
    return (
        f"onnx: {record['mb']:.1f} MB (merged: {record['merged_mb']:.1f} MB), float32\n"
        f"{record['engine']}: {one} of {seen['equal']} of {seen['prompts']} prompts equal{ties}; "
        f"logits at most {record['logits_apart']:.1e} of the largest apart"
    )
