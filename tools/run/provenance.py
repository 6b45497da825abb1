"""What a run's bytes come from, by content: recipe, packages, model files, code, machine.

None of it is in a stage's fingerprint (``tools.run.folder``), which holds what is known to decide
the stage's output: a new version of an unrelated package must not train anew. This is for who
rebuilds the run elsewhere and finds other bytes.
"""

import dataclasses
import functools
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.files import digest, file_digest, file_digests, read_json, write_json
from tools.recipe.schema import Model, Recipe

Record = dict[str, Any]

MANIFEST = "manifest.json"
HASHES = Path(".cache/sha256.json")  # of model files, so that 14 GB are read once
SHARED = ("recipe", "packages", "model")  # long lists, the same in most records: stored once
_ROOT = Path(__file__).resolve().parents[2]


class Manifest:
    """``manifest.json`` of a run folder.

    Args:
        folder: the run folder; an absent manifest is an empty one.

    Attributes:
        stages: the records of all stages ever finished, oldest first.
        contents: what records name by its hash: recipes, lists of packages and of model files.

    Raises:
        UserError: there is a file, but no manifest in it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / MANIFEST
        stored = read_json(self._path) if self._path.exists() else {}
        if not isinstance(stored, dict):
            raise UserError(
                f"{self._path}: damaged (not JSON); put a copy of it back, or move it away"
            )
        self.stages: list[Record] = stored.get("stages", [])
        self.contents: dict[str, Any] = stored.get("contents", {})

    def newest(self, stage: str) -> Record | None:
        """The last record of a stage."""
        return next((r for r in reversed(self.stages) if r.get("stage") == stage), None)

    def faults(self) -> Iterator[str]:
        """What was edited or lost, a line each: every content and every input has its hash."""
        for key, value in self.contents.items():
            if digest(value) != key:
                yield f"{MANIFEST}: contents {key[:12]}: not what its hash says, so it was edited"
        for record in self.stages:
            where = f"{MANIFEST}: {record.get('stage')} of {record.get('finished')}"
            if digest(record.get("inputs")) != record.get("fingerprint"):
                yield f"{where}: its inputs do not give its fingerprint, so it was edited"
            for what, key in references(record).items():
                if key not in self.contents:
                    yield f"{where}: its {what} ({key[:12]}) is missing"

    def keep(self, value: Any) -> str:
        """Store a value, on the disk when this returns; its hash is what a record holds."""
        key = digest(value)
        if key not in self.contents:
            self.contents[key] = value
            self._save()
        return key

    def add(self, record: Record) -> None:
        """Append a record; what no record names (an attempt that failed kept it) is dropped."""
        self.stages.append(record)
        named = {key for stage in self.stages for key in references(stage).values()}
        self.contents = {key: value for key, value in self.contents.items() if key in named}
        self._save()

    def content(self, record: Record, name: str) -> Any:
        """What a record names by its hash; None when it (or an older version) kept no such."""
        return self.contents.get(references(record).get(name, ""))

    def _save(self) -> None:
        value = {"run": self._path.parent.name, "stages": self.stages, "contents": self.contents}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, value)


def references(record: Record) -> dict[str, str]:
    """Hashes of the contents that a record names, by what they are."""
    known = record.get("provenance", {})
    found = {name: known[name] for name in SHARED if known.get(name)}
    return found | record.get("contents", {})


def made_with(recipe: Recipe, uses_model: bool, manifest: Manifest) -> dict[str, Any]:
    """A record's ``provenance``; its long parts go into the manifest.

    Args:
        recipe: the resolved recipe, stored whole.
        uses_model: whether the stage reads the base model.
        manifest: of the run.
    """
    found = {
        "recipe": manifest.keep(dataclasses.asdict(recipe)),
        "packages": manifest.keep(packages()),
        "code": code(),
        "machine": machine(recipe.hardware.device),
    }
    if uses_model:
        found["model"] = manifest.keep(model_files(recipe.model))
    return found


@functools.cache
def packages() -> dict[str, str]:
    """Version of every installed distribution, by its normalized name (PEP 503)."""
    from importlib import metadata

    found: dict[str, str] = {}
    for each in metadata.distributions():
        known = each.metadata  # parsed at each use of name or version
        if name := known["Name"]:  # of two, the first on the path is what is imported
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), known["Version"])
    return dict(sorted(found.items()))


@functools.cache
def code() -> dict[str, Any]:
    """This program: a hash over its files, and the commit where it lies in a git work tree."""
    files = sorted(path for part in ("tools", "serve") for path in (_ROOT / part).rglob("*"))
    source = [path for path in files if path.is_file() and "__pycache__" not in path.parts]
    hashes = {path.relative_to(_ROOT).as_posix(): file_digest(path) for path in source}
    return {"sha256": digest(hashes), **_commit(_ROOT)}


def _commit(root: Path) -> dict[str, Any]:
    """Commit, and whether the program was edited since; nothing outside a work tree of its own."""
    found = _output("git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD").splitlines()
    if len(found) != 2 or Path(found[0]) != root:
        return {}
    # Without locks: status would write the index, in the way of a git at work meanwhile.
    status = ("--no-optional-locks", "status", "--porcelain", "--", "tools", "serve")
    return {"commit": found[1], "dirty": bool(_output("git", "-C", str(root), *status))}


@functools.cache
def machine(device: str) -> dict[str, Any]:
    """Python and what it runs on.

    Args:
        device: the recipe's; with ``cpu`` no card takes part.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "cards": _cards() if device == "cuda" else [],
    }


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor()


def _cards() -> list[dict[str, str]]:
    """Asked of the driver: asking torch would take memory of the card in this very process."""
    names = ("name", "capability", "memory", "driver")
    query = "--query-gpu=name,compute_cap,memory.total,driver_version"
    lines = _output("nvidia-smi", query, "--format=csv,noheader").splitlines()
    return [dict(zip(names, line.split(", "), strict=False)) for line in lines]


def _output(*command: str) -> str:
    """What a command prints, empty when it is not there or fails."""
    if not shutil.which(command[0]):
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def model_files(model: Model) -> dict[str, str]:
    """SHA-256 (hex) of the base model's files, by name; a file is read when it has changed.

    Raises:
        UserError: the model is not there and cannot be got.
    """
    from tools.base_model.folder import local_folder

    if model.source == "local" and not model.path:
        return {}
    folder = Path(model.path) if model.source == "local" else local_folder(model)
    # The hub's cache holds links: a file that two revisions share is then hashed once.
    files = {path.name: path.resolve() for path in sorted(folder.glob("*")) if path.is_file()}
    found = _remembered(list(files.values()))
    return {name: found[path] for name, path in files.items()}


def _remembered(paths: list[Path]) -> dict[Path, str]:
    """Hashes of files, from the last time for those of the same size and time."""
    known: dict[str, list[Any]] = read_json(HASHES) or {}
    stamps = {path: [path.stat().st_size, path.stat().st_mtime_ns] for path in paths}
    fresh = [path for path in paths if known.get(str(path), [])[:2] != stamps[path]]
    if fresh:
        hashes = file_digests(fresh, "model files")
        known |= {str(path): [*stamps[path], sha256] for path, sha256 in hashes.items()}
        HASHES.parent.mkdir(parents=True, exist_ok=True)
        # Without files that are gone: the list would only ever grow.
        write_json(HASHES, {path: entry for path, entry in known.items() if Path(path).exists()})
    return {path: known[str(path)][2] for path in paths}
