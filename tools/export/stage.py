"""A GGUF of each type asked for, held against the merged model before it counts."""

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tools.console import say
from tools.export import asking, merged, programs, refusals
from tools.run.exports import folder_of, stage_of
from tools.run.folder import Run
from tools.stages import gate

LOG = "export-gguf.log"
FLOATS = ("F32", "BF16", "F16")  # what the converter writes; all else is packed from such a file


def export(run: Run, kinds: list[str], same: str = "") -> list[dict[str, Any]]:
    """Make ``export-gguf/TYPE/`` for each type that is not there yet.

    Args:
        run: its folder is held, its merge done.
        kinds: types, finest first.
        same: the words of this call, as Make takes them.

    Returns:
        What was measured of each type, in the same order.

    Raises:
        UserError: there is nothing to export, or no room.
        StageError: llama.cpp failed, or a file does not answer as the merged model does.
    """
    missing = [kind for kind in kinds if not run.done(stage_of(kind))]
    for kind in kinds:
        if kind not in missing:
            say(f"export: {kind}: up to date ({run.output(stage_of(kind))})")
    if missing:
        refusals.refuse(run, missing, same)
        # In the run's folder: /tmp may be memory, and small.
        with (
            _whole_file(run, missing) as source,
            tempfile.TemporaryDirectory(dir=run.path, prefix=".export-") as scratch,
        ):
            answers = functools.cache(lambda: _answers(run, Path(scratch) / "logits.f16"))
            for kind in missing:
                _make(run, kind, source, answers)
    records = [run.record(stage_of(kind)) for kind in kinds]
    return [record["metrics"] for record in records if record]


def _answers(run: Run, file: Path) -> merged.Merged:
    """What the merged model says; asked once, however many types there are."""
    say("export: asking the merged model")
    rows = gate.rows_of(run)
    return merged.ask(run, asking.prompts_of(rows), rows, asking.STEPS, file)


def _make(
    run: Run, kind: str, source: Callable[[], Path], answers: Callable[[], merged.Merged]
) -> None:
    """One type."""
    own, log = answers(), run.logs / LOG
    with run.produce(stage_of(kind)) as work:
        file = work.folder / f"{run.recipe.name}-{kind}.gguf"
        say(f"export: {kind}: writing {folder_of(kind)}/{file.name}")
        if kind in FLOATS:
            _convert(run, file, kind, own.add_bos)
        else:
            programs.pack(source(), file, kind, _threads(run), log)
        say(f"export: {kind}: llama.cpp answers {len(own.prompts)} prompts")
        told = programs.ask(asking.request(file, own, _threads(run)), log)
        most = run.recipe.quantize.max_perplexity_ratio
        work.note(**asking.held(kind, own, told, most))
        work.note(mb=file.stat().st_size / 1e6, merged_mb=_megabytes(run.output("merge")))


def _convert(run: Run, file: Path, kind: str, add_bos: bool) -> None:
    name = run.recipe.name
    programs.convert(run.output("merge"), file, kind, run.logs / LOG, add_bos=add_bos, name=name)


@contextlib.contextmanager
def _whole_file(run: Run, missing: list[str]) -> Iterator[Callable[[], Path]]:
    """Where packed types are made from: a file that rounds nothing, made when it is asked for."""
    kind = refusals.lossless(run.output("merge"))
    place = run.output(stage_of(kind)).with_name(".whole.partial")
    shutil.rmtree(place, ignore_errors=True)  # of a run that was killed

    def source() -> Path:
        if run.done(stage_of(kind)):
            return next(run.output(stage_of(kind)).glob("*.gguf"))
        file = place / f"{kind}.gguf"
        if not file.is_file():
            place.mkdir(parents=True)
            say(f"export: the whole model as {kind}, to pack {', '.join(missing)} from")
            _convert(run, file, kind, merged.words(run.output("merge"))["add_bos"])
        return file

    try:
        yield source
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _threads(run: Run) -> int:
    """As many as the worker's, see ``serve.threads``."""
    return run.recipe.serve.threads or max(1, (os.cpu_count() or 2) - 1)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
