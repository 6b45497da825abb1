"""The files that HELM's scenarios read: which an entry needs, whether they are there, and by link.

HELM downloads each when its run spec's turn comes, and a run spec whose file cannot be had fails
there, after the model was loaded. So what the tier's entries need is looked for, and fetched,
before the worker is started. Paths are those below HELM's output folder (``benchmark_output``), so
any such folder of an earlier HELM serves as ``eval.data``. What is fetched is kept in
``.cache/helm`` for the next evaluation.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.errors import UserError
from tools.files import file_digest
from tools.questions.fetch import Fetcher
from tools.questions.needs import Need, needs
from tools.recipe.run_entries import parts

STORE = Path(".cache/helm")
FOLDERS = ("scenarios", "perturbations")


class Data:
    """The data of one evaluation.

    Args:
        descriptions: the run entries.
        given: ``eval.data``: a folder laid out like HELM's output folder, or empty.
        store: where what is fetched is kept; None: only what is given counts.

    Attributes:
        online: whether HELM has to load a data set from the hub.

    Raises:
        UserError: ``given`` is no such folder.
    """

    def __init__(
        self, descriptions: Iterable[str], given: str = "", store: Path | None = STORE
    ) -> None:
        self.online = False
        self._folders = [
            *([_given(given)] if given else []),
            *([store.absolute()] if store else []),
        ]
        self._asking: dict[Need, list[str]] = {}
        for text in descriptions:
            for need in needs(text):
                self._asking.setdefault(need, []).append(text)

    def fetch(self) -> None:
        """Get what is not there.

        Raises:
            UserError: a fault a file or archive that cannot be had: who needs it, where from,
                what to do.
        """
        fetcher = Fetcher(self._folders[-1])
        missing: dict[tuple[str, str], list[str]] = {}
        for need, asking in self._asking.items():
            if self.find(need):
                continue
            why = fetcher.get(need.urls, need.kind, need.folder or need.path)
            if not why and need.kind == "hub":
                self.online = True
            elif not why and not self.find(need):
                why = f"{need.urls[0]}: the archive holds no such file"
                missing.setdefault((need.path, why), []).extend(asking)
            elif why:
                missing.setdefault((need.folder or need.path, why), []).extend(asking)
        if missing:
            raise UserError(_fault(path, asking, why) for (path, why), asking in missing.items())

    def link(self, output: Path) -> None:
        """Put links to all data into HELM's output folder, where HELM looks first."""
        self.unlink(output)  # those of an interrupted attempt may lead nowhere by now
        for folder in reversed(self._folders):  # what is given wins
            for source in _files(folder):
                link = output / source.relative_to(folder)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(source)

    def unlink(self, output: Path) -> None:
        """Take the links away; what HELM fetched itself is kept for the next evaluation."""
        for source in list(_files(output)):  # a list: files move away meanwhile
            kept = self._folders[-1] / source.relative_to(output)
            if not source.is_symlink() and not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(source, kept)
        for name in FOLDERS:
            shutil.rmtree(output / name, ignore_errors=True)

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file that the entries need, by its path below HELM's output folder."""
        files = {need.path: self.find(need) for need in self._asking}
        return {path: file_digest(file) for path, file in files.items() if file and file.is_file()}

    def find(self, need: Need) -> Path | None:
        """Where a need's file is; None: nowhere."""
        names = [need.path, *([need.other] if need.other else [])]
        found = (folder / name for folder in self._folders for name in names)
        return next((path for path in found if path.exists()), None)


def _given(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise UserError(f"eval.data: {folder}: no such folder")
    if not any((folder / name).is_dir() for name in FOLDERS):
        raise UserError(
            f"eval.data: {folder} holds neither scenarios/ nor perturbations/; give a folder laid "
            "out like HELM's benchmark_output"
        )
    return folder.absolute()


def _files(folder: Path) -> Iterator[Path]:
    """All files below the data folders, and links to files; not HELM's locks."""
    for name in FOLDERS:
        # A user's copy may be put together from links to folders.
        for where, _, files in os.walk(folder / name, followlinks=True):
            yield from (Path(where, file) for file in files if not file.endswith(".lock"))


def _fault(path: str, asking: list[str], why: str) -> str:
    """Which run entries miss what, why, and the remedy."""
    names, count = dict.fromkeys(parts(text)[0] for text in asking), len(set(asking))
    who = f"{', '.join(names)} ({count} run entries)" if count > 1 else asking[0]
    return (
        f"eval: {who}: {path}: not there, and {why}; put it below a folder laid out like HELM's "
        "benchmark_output, and give that: make eval DATA=FOLDER"
    )
