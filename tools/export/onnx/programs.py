"""transformers' exporter and ONNX Runtime, each in a process of its own."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.console import environment
from tools.errors import StageError, UserError
from tools.export.child import request_file, run_child
from tools.files import read_json

HERE = Path(__file__).parent
#: What the exporter needs beside the main environment's packages.
EXPORTER = ("onnx", "onnxscript", "onnx_ir", "ml_dtypes")


def venv() -> Path:
    """The environment that holds ONNX Runtime.

    Raises:
        UserError: it is not there.
    """
    found = Path(os.environ.get("ONEDAY_ONNX_VENV", ".venv-onnx")).absolute()
    if not packages(found):
        raise UserError(f"ONNX Runtime is not installed in {found}; install it with: make onnx")
    return found


def packages(place: Path) -> Path | None:
    """Its site-packages, if ONNX Runtime is in it."""
    found = sorted(place.glob("lib/python*/site-packages/onnxruntime/__init__.py"))
    return found[0].parent.parent if found else None


def write(model: Path, folder: Path, auto_class: str, log: Path) -> None:
    """Write a model folder as ONNX files.

    Args:
        model: its folder.
        folder: where they go.
        auto_class: of transformers, loads it.
        log: takes all that the exporter prints.

    Raises:
        StageError: the exporter failed.
    """
    there = packages(venv())
    assert there
    asked = {"model": str(model), "folder": str(folder), "auto_class": auto_class}
    with tempfile.TemporaryDirectory() as scratch:
        # These alone: the environment's other packages would stand in place of our own.
        for name in EXPORTER:
            for path in (there / name, *there.glob(f"{name}-*.dist-info")):
                (Path(scratch) / path.name).symlink_to(path)
        words = [sys.executable, "-P", str(HERE / "writing.py"), request_file(scratch, asked)]
        env = environment(PYTHONPATH=scratch, HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
        run_child(words, env, log, "transformers' ONNX exporter failed")


def ask(request: dict[str, Any], log: Path) -> dict[str, Any]:
    """ONNX Runtime's answers (``engine.py``).

    Raises:
        StageError: it does not load a file, or failed.
    """
    failed = f"ONNX Runtime does not run {request['folder']}"
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        words = [str(venv() / "bin" / "python"), "-P", str(HERE / "engine.py")]
        run_child([*words, request_file(scratch, request), str(answer)], environment(), log, failed)
        found = read_json(answer)
    if not isinstance(found, dict):
        raise StageError(f"export: {failed}: no answer came (log: {log})")
    return found
