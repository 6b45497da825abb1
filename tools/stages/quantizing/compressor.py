"""From the merged model to a folder in compressed-tensors' layout: w4a16, w8a16, w8a8, fp8."""

import shutil
from pathlib import Path
from typing import Any

from tools import base_model
from tools.console import say
from tools.errors import StageError, UserError
from tools.run import compressed
from tools.run.folder import Run
from tools.stages.quantizing import programs
from tools.stages.quantizing.calibration import Calibration, draw

LOG = "quantize.log"


def make(run: Run, merged: Path, folder: Path) -> dict[str, Any]:
    """Fill ``folder``.

    Args:
        run: its recipe names the format, its data stage is done.
        merged: the model.
        folder: empty.

    Returns:
        What goes into the stage's record.

    Raises:
        UserError: llm-compressor is not installed, or the disk is too small.
        StageError: it failed, or left every layer as it was.
    """
    compressed.ENVIRONMENT.needed()  # before rows are read
    _refuse_a_small_disk(merged, folder)
    wanted = run.recipe.quantize
    rows = Calibration([], [], run.recipe.data.seed)
    if compressed.calibrates(wanted):
        rows = draw(run, base_model.local_folder(run.recipe.model))
        say(f"quantize: {len(rows.rows)} training rows are looked at, drawn by seed {rows.seed}")
    found = programs.compress(_request(run, merged, folder, rows), run.logs / LOG)
    if not found["layers"]:
        raise StageError(
            f"quantize: llm-compressor makes none of {merged}'s layers smaller, which are of a "
            "kind of their own: set quantize.format=none, nf4 or int8"
        )
    made = {
        "scheme": compressed.FORMATS[wanted.format].scheme,
        "modifier": compressed.modifier_of(wanted),
        "group_size": compressed.group_of(wanted),
        "smoothing_strength": wanted.smoothing_strength,
        "layers": found["layers"],
        "whole": found["whole"],
        "told": found["told"],
    }
    return {"compressor": made} | ({"calibration": rows.record()} if rows.rows else {})


def _request(run: Run, merged: Path, folder: Path, rows: Calibration) -> dict[str, Any]:
    """What ``compressing.py`` is asked."""
    wanted = run.recipe.quantize
    return {
        "model": str(merged),
        "folder": str(folder),
        "scheme": compressed.FORMATS[wanted.format].scheme,
        "modifier": compressed.modifier_of(wanted),
        "group_size": compressed.group_of(wanted),
        "smoothing_strength": wanted.smoothing_strength,
        "ignore": wanted.ignore,
        "rows": rows.rows,
        "seed": rows.seed,
        "device": run.recipe.hardware.device,
    }


def _refuse_a_small_disk(merged: Path, folder: Path) -> None:
    """No format of these is larger than what it is made of.

    Raises:
        UserError: the disk is too small.
    """
    wanted = sum(path.stat().st_size for path in merged.glob("*.safetensors"))
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise UserError(
            f"{folder.parent}: the disk has {free / 1e9:.2f} GB, and quantizing may take "
            f"{wanted / 1e9:.2f}; make room"
        )
