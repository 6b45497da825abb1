"""The submission verb: one folder, and the same as a zip, from which strangers build and run.

The folder holds text only: the serving code, the chain, the resolved recipe, locks, the manifest.
Weights are named by address and SHA-256, never packed. What goes in is an allow-list
(``tools.package.contents``); everything that keeps a submission from being whole is said at once.
"""

import dataclasses
import shutil
from pathlib import Path

from tools.errors import UserError
from tools.files import file_digest
from tools.package import archive, contents, weights
from tools.package.names import slug
from tools.run.folder import STAGES, Run, served
from tools.run.provenance import MANIFEST, Manifest

LIMIT_MB = 50.0  # of text, unpacked; the locks and the code are under 3
NEEDED = ("data", "train", "merge", "quantize")


@dataclasses.dataclass(frozen=True)
class Packed:
    """What was made.

    Attributes:
        folder: the submission.
        archive: the same, zipped: equal runs give equal bytes.
        files: how many files it has.
        size: their bytes.
        notes: what its author should know.
    """

    folder: Path
    archive: Path
    files: int
    size: int
    notes: tuple[str, ...]

    def render(self) -> str:
        """As plain text."""
        lines = [
            f"submission: {self.folder}/ ({self.files} files, {self.size / 1e6:.2f} MB)",
            f"submission: {self.archive} (sha256 {file_digest(self.archive)})",
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def package(run: Run, dist: Path, limit_mb: float = LIMIT_MB) -> Packed:
    """Make ``dist/submission-NAME/`` and ``.zip``.

    Args:
        run: a finished run of the present recipe.
        dist: where submissions live.
        limit_mb: most megabytes (10^6 bytes) of the folder.

    Raises:
        UserError: with everything that is missing: stages, an address for the weights, files that
            cannot be packed, secrets in them, too many bytes.
    """
    stage = served(run.recipe)
    unfinished = _unfinished(run, stage)
    found = [*unfinished, *weights.faults(run.recipe), *contents.recipe_faults(run.recipe)]
    if not unfinished:  # else there is no record to hold anything against
        found += [*_manifest_faults(run), *weights.changed(run, stage)]
    if found:
        raise UserError(found)
    files = contents.files(run, weights.reference(run, stage))
    if found := contents.faults(files, limit_mb):
        raise UserError(found)
    folder = dist / f"submission-{slug(run.recipe.name)}"
    _write(folder, files)
    zipped = archive.write(folder, dist / f"{folder.name}.zip")
    notes = tuple(weights.notes(run.recipe))
    return Packed(folder, zipped, len(files), sum(map(len, files.values())), notes)


def _unfinished(run: Run, stage: str) -> list[str]:
    """Stages without an output of the present recipe."""
    needed = NEEDED[: NEEDED.index(stage) + 1]
    missing = [name for name in needed if not run.done(name)]
    if not missing:
        return []
    there = [name for name in missing if run.output(name).is_dir()]
    why = f" ({', '.join(there)}: made by another recipe)" if there else ""
    return [f"{run.path}: not finished: {', '.join(missing)} missing{why}; first: make day"]


def _manifest_faults(run: Run) -> list[str]:
    """A manifest that others could not rebuild the run from."""
    manifest = Manifest(run.path)
    found = [f"{run.path}/{fault}; make the run once more" for fault in manifest.faults()]
    for name in STAGES:
        record = run.record(name)
        if name in NEEDED and record and record not in manifest.stages:
            found.append(f"{run.path / MANIFEST}: does not list {name}; make the run once more")
    return found


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Write the folder whole, in place of an older one."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name, content in files.items():
        path = partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
