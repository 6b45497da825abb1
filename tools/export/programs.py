"""llama.cpp's converter and llama.cpp itself, each in a process of its own."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.console import environment
from tools.environments import Environment
from tools.export.child import answered, request_file, run_child

HERE = Path(__file__).parent
LLAMA_CPP = Environment("llama.cpp", "gguf", "convert_hf_to_gguf.py")
CONVERTER = ("convert_hf_to_gguf.py", "conversion", "gguf")


def families() -> set[str]:
    """The architectures that the converter knows, by their class in transformers."""
    # Read, not imported: it imports torch.
    text = (LLAMA_CPP.needed() / "conversion" / "__init__.py").read_text(encoding="utf-8")
    table = text.partition("TEXT_MODEL_MAP")[2].partition("}")[0]
    return {line.split('"')[1] for line in table.splitlines() if line.count('"') >= 4}


def convert(folder: Path, file: Path, kind: str, log: Path, **options: Any) -> None:
    """Write a model folder as a GGUF of F32, F16 or BF16.

    Args:
        folder: the model.
        file: the GGUF to be made.
        kind: its type.
        log: takes all that the converter prints.
        options: ``add_bos`` and ``name``, see ``converting.py``.

    Raises:
        StageError: the converter failed.
    """
    packages = LLAMA_CPP.needed()
    with tempfile.TemporaryDirectory() as scratch:
        # These alone: the environment's other packages would stand in place of our own.
        for name in CONVERTER:
            (Path(scratch) / name).symlink_to(packages / name)
        about = Path(scratch) / "about.json"
        about.write_text(json.dumps({"general.name": options["name"]}), encoding="utf-8")
        request = {"folder": str(folder), "file": str(file), "type": kind.lower(), **options}
        words = [sys.executable, "-P", str(HERE / "converting.py")]
        call = request_file(scratch, request | {"metadata": str(about)})
        env = environment(PYTHONPATH=scratch, NO_LOCAL_GGUF="1", HF_HUB_OFFLINE="1")
        run_child([*words, call], env, log, f"llama.cpp's converter failed for {kind}")


def pack(source: Path, file: Path, kind: str, threads: int, log: Path) -> None:
    """Write a GGUF in another weight type.

    Raises:
        StageError: llama.cpp failed.
    """
    told = {"source": str(source), "file": str(file), "type": kind, "threads": threads}
    _engine({"pack": told}, log, f"llama.cpp could not write {kind}")


def ask(request: dict[str, Any], log: Path) -> dict[str, Any]:
    """llama.cpp's answers (``engine.py``).

    Raises:
        StageError: it does not load the file, or failed.
    """
    return _engine({"ask": request}, log, f"llama.cpp does not run {request['file']}")


def _engine(request: dict[str, Any], log: Path, failed: str) -> dict[str, Any]:
    return answered([LLAMA_CPP.python(), "-P", str(HERE / "engine.py")], request, log, failed)
