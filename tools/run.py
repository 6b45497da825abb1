"""The run folder: paths, stage fingerprints, atomic outputs, manifest.

A stage's output folder carries its own record, ``oneday.json``, written before the folder takes
its final name. So one rename decides whether a stage is done, and a crash at any moment leaves
either the previous result whole or none. ``manifest.json`` is the history of those records.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools import __version__
from tools.errors import UserError
from tools.schema import Recipe

RECORD = "oneday.json"


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage depends on.

    Attributes:
        folder: its output, relative to the run folder.
        upstream: stages whose output it reads.
        sections: recipe sections it reads, as dotted paths.
        packages: distributions whose version may change its output.
    """

    folder: str
    upstream: tuple[str, ...]
    sections: tuple[str, ...]
    packages: tuple[str, ...]


_TORCH = ("torch", "transformers")
_SERVED = (
    "serve.engine",
    "serve.dtype",
    "serve.context",
    "serve.overflow",
    "serve.parse_special",
    "serve.adapters",
    "serve.rules",
    "eval",
    "hardware.device",
)
STAGES: dict[str, Stage] = {
    "data": Stage("data", (), ("data",), ("datasets",)),
    "train": Stage("adapter", ("data",), ("train", "model"), (*_TORCH, "axolotl", "peft")),
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
}


def digest(value: Any) -> str:
    """SHA-256 (hex) of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old or the new text, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, as whole as ``write_text``."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False))


def read_json(path: Path) -> Any:
    """The value in ``path``, or None when it is absent or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


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
        self._fingerprints: dict[str, str] = {}

    def _settle(self) -> None:
        """Finish what a crash between two renames left: the old folder back, the record listed."""
        for name, stage in STAGES.items():
            final, old = self.path / stage.folder, self._beside(name, "old")
            if old.exists() and not final.exists():
                old.rename(final)
            elif old.exists():
                shutil.rmtree(old)
            record = self.record(name)
            if record and record not in self.manifest():
                self._append(record)

    def _beside(self, name: str, kind: str) -> Path:
        final = self.path / STAGES[name].folder
        return final.with_name(f".{final.name}.{kind}")

    def output(self, name: str) -> Path:
        """The final folder of a stage."""
        return self.path / STAGES[name].folder

    @property
    def logs(self) -> Path:
        """Folder of the stages' logs, made when asked for."""
        folder = self.path / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def manifest(self) -> list[dict[str, Any]]:
        """The records of all stages ever finished in this folder, oldest first."""
        stored = read_json(self.path / "manifest.json")
        return stored["stages"] if stored else []

    def _append(self, record: dict[str, Any]) -> None:
        stages = [*self.manifest(), record]
        write_json(self.path / "manifest.json", {"run": self.recipe.name, "stages": stages})

    def record(self, name: str) -> dict[str, Any] | None:
        """The record in a stage's output folder, None when there is no whole output."""
        record: dict[str, Any] | None = read_json(self.output(name) / RECORD)
        return record

    def inputs(self, name: str) -> dict[str, Any]:
        """Everything that decides a stage's output: sections, upstream, versions, file contents."""
        stage = STAGES[name]
        recipe = dataclasses.asdict(self.recipe)
        found = {
            "oneday": __version__,
            "recipe": {path: _at(recipe, path) for path in stage.sections},
            "upstream": {up: self.fingerprint(up) for up in stage.upstream},
            "versions": {package: _version(package) for package in stage.packages},
        }
        if name == "data":
            found["files"] = _source_files(self.recipe)
        if "model" in stage.sections and self.recipe.model.source == "local":
            found["files"] = _model_files(Path(self.recipe.model.path))
        return found

    def fingerprint(self, name: str) -> str:
        """SHA-256 of a stage's inputs: equal fingerprints mean the same work."""
        if name not in self._fingerprints:
            self._fingerprints[name] = digest(self.inputs(name))
        return self._fingerprints[name]

    def done(self, name: str) -> bool:
        """Whether a stage's whole output for the present recipe is there."""
        record = self.record(name)
        if not record or record["fingerprint"] != self.fingerprint(name):
            return False
        folder = self.output(name)
        sizes = {file: entry["size"] for file, entry in record["outputs"].items()}
        return all(_size(folder / file) == size for file, size in sizes.items())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run folder against a second process.

        Raises:
            UserError: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise UserError(
                    f"{self.path}: in use by process {holder}; wait for it, or stop it with Ctrl+C"
                ) from None
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
            resume: keep what an interrupted attempt with the same fingerprint left in the folder.
        """
        partial = self._beside(name, "partial")
        if not (resume and _text(partial / ".fingerprint") == self.fingerprint(name)):
            shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        (partial / ".fingerprint").write_text(self.fingerprint(name), encoding="utf-8")
        work, started = Work(partial), time.monotonic()
        try:
            yield work
        except BaseException:
            if not resume:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        (partial / ".fingerprint").unlink()
        record = self._describe(name, work, time.monotonic() - started)
        write_json(partial / RECORD, record)
        self._swap(name, partial)
        self._append(record)

    def _describe(self, name: str, work: Work, seconds: float) -> dict[str, Any]:
        return {
            "stage": name,
            "fingerprint": self.fingerprint(name),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "inputs": self.inputs(name),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "metrics": work.metrics,
            "outputs": _outputs(work.folder),
        }

    def _swap(self, name: str, partial: Path) -> None:
        final, old = self.output(name), self._beside(name, "old")
        if final.exists():
            final.rename(old)
        partial.rename(final)
        shutil.rmtree(old, ignore_errors=True)


def _at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree[key]
    return tree


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file, each flushed to the disk on the way."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != RECORD):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        found[path.relative_to(folder).as_posix()] = {"size": _size(path), "sha256": sha256}
    return found


def _model_files(folder: Path) -> dict[str, list[int]]:
    """Size and time of a local model's files: their content would take minutes to read."""
    files = sorted(path for path in folder.glob("*") if path.is_file())
    return {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}


def _source_files(recipe: Recipe) -> dict[str, str]:
    """Content of local data files: one edited row must make the data stage run again."""
    local = {name: Path(s.path) for name, s in recipe.data.sources.items() if s.kind == "jsonl"}
    missing = [
        f"data.sources.{name}.path: no file {path}; give a path relative to where you call make"
        for name, path in local.items()
        if not path.is_file()
    ]
    if missing:
        raise UserError(missing)
    return {name: file_digest(path) for name, path in local.items()}
