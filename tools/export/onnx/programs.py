"""transformers' exporter and ONNX Runtime, each in a process of its own."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.console import environment
from tools.environments import Environment
from tools.export.child import answered, request_file, run_child

HERE = Path(__file__).parent
ONNX_RUNTIME = Environment("ONNX Runtime", "onnx", "onnxruntime/__init__.py")
#: What the exporter needs beside the main environment's packages.
EXPORTER = ("onnx", "onnxscript", "onnx_ir", "ml_dtypes")


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
    there = ONNX_RUNTIME.needed()
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
    return answered([ONNX_RUNTIME.python(), "-P", str(HERE / "engine.py")], request, log, failed)
