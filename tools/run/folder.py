"""The run folder: paths, stage fingerprints, atomic outputs, records.

A stage's output folder carries its own record, ``oneday.json``, written before the folder takes
its final name. So one rename decides whether a stage is done, and a crash at any moment leaves
either the previous result whole or none. ``manifest.json`` is the history of those records.
"""

import contextlib
import dataclasses
import datetime
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tools import __version__
from tools.console import say
from tools.errors import StageError, UserError
from tools.files import digest, file_digests, read_json, write_json  # some take it from here
from tools.questions import tiers
from tools.recipe.schema import Recipe
from tools.recipe.written import settled
from tools.run import compressed, souped
from tools.run.base_inputs import base_inputs
from tools.run.contents import adapter_files, model_files, source_files
from tools.run.exports import GGUF_TYPES, ONNX, ONNX_FOLDER, folder_of, stage_of
from tools.run.operator_inputs import operator_inputs
from tools.run.provenance import Manifest, Record, made_with
from tools.run.souped import SOUP, SWEEP

RECORD = "oneday.json"
# What a stage goes on from, and its output does not need. It goes once the record is on the disk:
# were it gone before, a disk too full for the record would cost the whole training.
SCRAP = ("checkpoint-*", ".saving")
_GLANCE = 0.5  # seconds; who only looks at the lock, as make clock does, holds it for far less


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage depends on.

    Attributes:
        folder: its output, relative to the run folder.
        upstream: stages whose output it reads.
        sections: recipe sections it reads, as dotted paths.
        packages: distributions whose version may change its output.
        kept: files of its output, JSON, that the manifest holds whole, for who rebuilds the run.
    """

    folder: str
    upstream: tuple[str, ...]
    sections: tuple[str, ...]
    packages: tuple[str, ...]
    kept: tuple[str, ...] = ()


_TORCH = ("torch", "transformers")
# What is known to decide answers: another port or batch size evaluates nothing anew.
_SERVED = (
    "serve.engine",
    "serve.dtype",
    "serve.context",
    "serve.overflow",
    "serve.parse_special",
    "serve.adapters",
    "serve.rules",
    "serve.capital_letters",
    "hardware.device",
)
# Under serve.deterministic every step has one shape, and answers in low precision are that shape's.
# Where it is off they are in no fingerprint: an evaluation of before the switch counted stays done.
_SHAPES = ("serve.deterministic", "serve.prefill_tokens", "serve.max_batch")
STAGES: dict[str, Stage] = {
    "data": Stage("data", (), ("data",), ("datasets",)),
    "train": Stage(
        "adapter", ("data",), ("train", "model"), (*_TORCH, "axolotl", "peft"), ("schedule.json",)
    ),
    # It loads the base as the merge does: in 4 bits, or whole.
    SOUP: Stage("soup", ("train",), ("soup", "merge.method"), (*_TORCH, "axolotl", "peft")),
    "merge": Stage("merged", ("train",), ("merge",), (*_TORCH, "axolotl", "peft")),
    "quantize": Stage(
        "quantized",
        ("merge",),
        ("quantize", "hardware.device"),
        (*_TORCH, "axolotl", "bitsandbytes", "torchao"),
    ),
    "eval_base": Stage("eval/base", ("data",), ("model", *_SERVED), (*_TORCH, "litserve")),
    "eval_tuned": Stage(
        "eval/tuned", ("data", "quantize"), ("serve.weights", *_SERVED), (*_TORCH, "litserve")
    ),
    SWEEP: Stage("sweep", (), ("sweep", "train", "model"), (*_TORCH, "axolotl", "peft", "optuna")),
    **{stage_of(kind): Stage(folder_of(kind), ("merge",), (), _TORCH) for kind in GGUF_TYPES},
    ONNX: Stage(ONNX_FOLDER, ("merge",), (), _TORCH),
}


def served(recipe: Recipe) -> str:
    """The stage whose folder is served."""
    plain = recipe.serve.weights == "merged" or recipe.quantize.format == "none"
    return "merge" if plain else "quantize"


class Work:
    """A stage in progress: a folder to fill and notes for its record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: dict[str, Any] = {}

    def note(self, **metrics: Any) -> None:
        """Add measured values to the stage's record."""
        self.metrics.update(metrics)


class Run:
    """One run folder.

    Args:
        recipe: the resolved recipe; its name names the folder.
        root: where run folders live.
    """

    def __init__(self, recipe: Recipe, root: Path = Path("runs")) -> None:
        self.recipe = recipe
        self.path = root / recipe.name
        self._inputs: dict[str, dict[str, Any]] = {}

    def _settle(self) -> None:
        """Finish what a crash between two renames left: the old folder back, the record listed."""
        for name in STAGES:
            final, old = self.output(name), self._beside(name, "old")
            if old.exists() and not final.exists():
                old.rename(final)
            elif old.exists():
                shutil.rmtree(old)
            self._finish(name)
            record = self.record(name)
            if record and record != Manifest(self.path).newest(name):
                Manifest(self.path).add(record)

    def _finish(self, name: str) -> None:
        """Rename work that is whole but for its name: the power failed, or its recipe came back."""
        for partial in self._partials(name):
            record = _record(partial, name)
            if not record or record["fingerprint"] != self.fingerprint(name):
                continue
            if _whole(partial, record) and not self.done(name):
                _tidy(partial)
                self._swap(name, partial, keep=partial == self.unfinished(name))

    def _beside(self, name: str, kind: str) -> Path:
        final = self.output(name)
        return final.with_name(f".{final.name}.{kind}")

    def _partials(self, name: str) -> list[Path]:
        final = self.output(name)
        return sorted(final.parent.glob(f".{final.name}*.partial"))

    def output(self, name: str) -> Path:
        """The final folder of a stage."""
        return self.path / STAGES[name].folder

    def unfinished(self, name: str) -> Path:
        """Where a stage that can go on keeps its work: each recipe has a folder of its own."""
        return self._beside(name, f"{self.fingerprint(name)[:12]}.partial")

    @property
    def logs(self) -> Path:
        """Folder of the stages' logs, made when asked for."""
        folder = self.path / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def manifest(self) -> list[Record]:
        """The records of all stages ever finished in this folder, oldest first."""
        return Manifest(self.path).stages

    def record(self, name: str) -> Record | None:
        """The record in a stage's output folder, None when there is no whole output."""
        return _record(self.output(name), name)

    def inputs(self, name: str) -> dict[str, Any]:
        """Everything that decides a stage's output: sections, upstream, versions, file contents."""
        if name not in self._inputs:
            self._inputs[name] = self._gather(name)
        return self._inputs[name]

    def _gather(self, name: str) -> dict[str, Any]:
        stage = STAGES[name]
        recipe = settled(self.recipe)
        upstream = (*stage.upstream, *souped.upstream(self.recipe, name))
        found: dict[str, Any] = {
            "oneday": __version__,
            # A newer key that says nothing is in no recipe, see ``settled``.
            "recipe": {path: value for path in stage.sections for value in _at(recipe, path)},
            "upstream": {up: self.fingerprint(up) for up in upstream},
            "versions": {package: _version(package) for package in stage.packages},
        }
        if name == "quantize":
            found["versions"] |= compressed.versions(self.recipe.quantize)
            if self.recipe.serve.dtype == "int8":  # what is measured is what will answer
                found["recipe"] |= {"serve.dtype": "int8"}
        if name == SWEEP:
            found["data"] = self.fingerprint("data")
        if name == "data":
            found["files"] = source_files(self.recipe)
            found |= operator_inputs(self.recipe) | base_inputs(self.recipe)
        if name.startswith("eval"):
            found["recipe"]["eval"] = tiers.fingerprint(self.recipe.eval)
            if self.recipe.serve.deterministic:
                found["recipe"] |= {path: _at(recipe, path) for path in _SHAPES}
        if name == "merge" and self.recipe.merge.adapters:
            found["files"] = adapter_files(self.recipe)
        found |= souped.inputs(self.recipe, name)
        if "model" in stage.sections and self.recipe.model.source == "local":
            found["files"] = model_files(Path(self.recipe.model.path))
        return found

    def fingerprint(self, name: str) -> str:
        """SHA-256 of a stage's inputs: equal fingerprints mean the same work."""
        sweep = self.recipe.sweep if name == SWEEP else None  # a winner's recipe is not as asked
        return (sweep and sweep.work) or digest(self.inputs(name))

    def done(self, name: str) -> bool:
        """Whether a stage's whole output for the present recipe is there, and no part failed."""
        record = self.record(name)
        if not record or record["fingerprint"] != self.fingerprint(name):
            return False
        if record["metrics"].get("failed"):  # run specs of an evaluation
            return False
        return _whole(self.output(name), record)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run folder against a second process.

        Raises:
            UserError: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        # a+, not w: the holder's number must still be there when the lock is refused.
        with (self.path / ".lock").open("a+", encoding="utf-8") as file:
            if not _locked(file):
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise UserError(
                    f"{self.path}: in use by process {holder}; wait for it, or stop it with Ctrl+C"
                )
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self._settle()  # only who holds the lock: others would undo a rename in progress
            yield

    @contextlib.contextmanager
    def produce(self, name: str, resume: bool = False) -> Iterator[Work]:
        """Make a stage's output: the body fills ``work.folder``, which is renamed at its end.

        Args:
            name: the stage.
            resume: the work is long: what an interrupted attempt of the same recipe left is gone on
                with, and what another recipe made or left is kept for when that comes back.

        Raises:
            StageError: the disk is full.
        """
        # Before the work: what is edited or installed meanwhile had no part in it.
        provenance = made_with(self.recipe, "model" in STAGES[name].sections, Manifest(self.path))
        partial = self.unfinished(name) if resume else self._beside(name, "partial")
        if resume:
            self._tell_of_others(name)
        else:
            shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        work, started = Work(partial), time.monotonic()  # setting the clock changes no length
        try:
            yield work
        except BaseException as error:  # Ctrl+C, too, must leave no half-made folder
            free = shutil.disk_usage(partial).free  # before it goes: as it was when it failed
            if not resume:
                shutil.rmtree(partial, ignore_errors=True)
            if _full(error):
                raise StageError(
                    f"{name}: the disk of {self.path} is full ({free / 1e6:,.1f} MB free: {error})"
                    "; all other stages are whole: make room, and the same command goes on"
                ) from None
            raise
        record = self._describe(name, work, provenance, time.monotonic() - started)
        write_json(partial / RECORD, record)
        _tidy(partial)
        # First the name, then the list: a crash between them is mended by _settle.
        self._swap(name, partial, keep=resume)
        Manifest(self.path).add(record)

    def _tell_of_others(self, name: str) -> None:
        for path in self._partials(name):
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            if size and path != self.unfinished(name):
                say(
                    f"{name}: work of another recipe is kept in {path} ({size / 1e6:,.1f} MB), for "
                    "when that recipe comes back; delete it if it will not"
                )

    def _describe(
        self, name: str, work: Work, provenance: dict[str, Any], seconds: float
    ) -> Record:
        stored = {file: read_json(work.folder / file) for file in STAGES[name].kept}
        manifest = Manifest(self.path)
        return {
            "stage": name,
            "fingerprint": self.fingerprint(name),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "inputs": self.inputs(name),
            "provenance": provenance,
            "contents": {file: manifest.keep(value) for file, value in stored.items() if value},
            "metrics": work.metrics,
            "outputs": _outputs(work.folder),
        }

    def _swap(self, name: str, partial: Path, keep: bool) -> None:
        """Give a stage's work its final name.

        Args:
            name: the stage.
            partial: the work, its record in it.
            keep: do not delete what another recipe made.
        """
        final, old = self.output(name), self._beside(name, "old")
        before = (self.record(name) or {}).get("fingerprint", "")
        kept = self._beside(name, f"{before[:12]}.partial")
        if keep and before not in ("", self.fingerprint(name)) and not kept.exists():
            final.rename(kept)
        elif final.exists():
            # Two renames: no folder can take the name of one that holds files.
            final.rename(old)
        partial.rename(final)
        shutil.rmtree(old, ignore_errors=True)


def _full(error: BaseException) -> bool:
    """Whether a disk is full; safetensors, pickles and torch have errors of their own for it."""
    if isinstance(error, StageError | UserError):
        return False
    said = any(text in str(error) for text in ("No space left on device", "os error 28"))
    return said or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def _locked(file: IO[str]) -> bool:
    """Lock a file; False when another process holds it, and not only to look at it."""
    end = time.monotonic() + _GLANCE
    while True:
        try:
            # The kernel gives it back when the process ends, even by SIGKILL: no stale locks.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(_GLANCE / 20)
        else:
            return True


def _at(tree: Any, path: str) -> list[Any]:
    """The value there; none where there is none."""
    *above, last = path.split(".")
    for key in above:
        tree = tree[key]
    return [tree[last]] if last in tree else []


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _record(folder: Path, name: str) -> Record | None:
    """The record in a folder; a copied base model may bring one that is none of this stage."""
    found = read_json(folder / RECORD)
    return found if isinstance(found, dict) and found.get("stage") == name else None


def _whole(folder: Path, record: Record) -> bool:
    """Whether all files of a record are there, by their size: their content takes long to read."""
    sizes = {folder / file: entry["size"] for file, entry in record["outputs"].items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in sizes.items())


def _scrap(folder: Path) -> list[Path]:
    return [path for pattern in SCRAP for path in folder.glob(pattern) if path.is_dir()]


def _tidy(folder: Path) -> None:
    for path in _scrap(folder):
        shutil.rmtree(path, ignore_errors=True)


def _outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file, each flushed to the disk on the way."""
    aside = {folder / RECORD, *_scrap(folder)}
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [path for path in found if aside.isdisjoint((path, *path.parents))]
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256}
        for path, sha256 in file_digests(files, "hashing").items()
    }
