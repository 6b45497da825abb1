"""ONNX files of the merged model, held against it in ONNX Runtime before they count."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tools.base_model.architecture import of_folder
from tools.console import say
from tools.export.onnx import asking, merged, programs, refusals
from tools.files import read_json, write_json
from tools.run.exports import ONNX
from tools.run.folder import RECORD, Run

LOG = "export-onnx.log"
#: Of the merged folder what is no weight: config.json, the tokenizer, generation_config.json.
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", RECORD)


def export(run: Run, same: str = "") -> dict[str, Any]:
    """Make ``export-onnx/`` if it is not there yet.

    Args:
        run: its folder is held, its merge done.
        same: the words of this call, as Make takes them.

    Returns:
        What was measured.

    Raises:
        UserError: there is nothing to export, or no room.
        StageError: the exporter failed, or the files do not answer as the merged model does.
    """
    if run.done(ONNX):
        say(f"export: onnx: up to date ({run.output(ONNX)})")
    else:
        refusals.refuse(run, same)
        _make(run)
    record = run.record(ONNX)
    return dict(record["metrics"]) if record else {}


def _make(run: Run) -> None:
    folder, log = run.output("merge"), run.logs / LOG
    say("export: asking the merged model")
    own = merged.ask(folder, merged.lines_of(run))
    # In the run's folder: /tmp may be memory, and small.
    with (
        tempfile.TemporaryDirectory(dir=run.path, prefix=".export-") as scratch,
        run.produce(ONNX) as work,
    ):
        say(f"export: onnx: writing {run.output(ONNX).name}/")
        programs.write(folder, work.folder, of_folder(folder).auto_class, log)
        _beside(folder, work.folder)
        say(f"export: onnx: ONNX Runtime answers {len(own.lines.ids)} prompts")
        logits = Path(scratch) / "logits.f32"
        told = programs.ask(asking.request(work.folder, own, logits, _threads(run)), log)
        work.note(**asking.held(own, told, logits))
        work.note(mb=_megabytes(work.folder, "*.onnx*"), merged_mb=_megabytes(folder))


def _beside(folder: Path, made: Path) -> None:
    """What a reader wants beside the weights."""
    aside = {path for pattern in _WEIGHTS for path in folder.glob(pattern)}
    for path in folder.iterdir():
        if path.is_file() and path not in aside:
            shutil.copyfile(path, made / path.name)
    config = read_json(made / "config.json")
    config.pop("torch_dtype", None)
    write_json(made / "config.json", config | {"dtype": "float32"})


def _threads(run: Run) -> int:
    """As many as the worker's, see ``serve.threads``."""
    return run.recipe.serve.threads or max(1, (os.cpu_count() or 2) - 1)


def _megabytes(folder: Path, pattern: str = "*.safetensors") -> float:
    return sum(path.stat().st_size for path in folder.glob(pattern)) / 1e6
