"""The submission's folder: its files, what .dockerignore hides, and their texts."""

import codecs
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

TEXT = 2_000_000  # bytes; longer files are data, not code
_SKIPPED = {".git", ".hg", ".svn"}  # not part of what is handed in
ENVIRONMENT = "pyvenv.cfg"  # the file that marks a virtual environment of Python
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a]")
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_REMARK = re.compile(r"(?:^|\s)#.*")


@dataclass
class Folder:
    """A folder as its build context.

    Attributes:
        root: the folder.
        sizes: bytes of every file, by its path relative to ``root`` with ``/``.
    """

    root: Path
    sizes: dict[str, int] = field(default_factory=dict)
    _texts: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> "Folder":
        """List a folder; links to folders are not followed.

        Of a virtual environment only its mark is listed: what else lies there is others'.
        """
        sizes = {}
        for top, folders, names in os.walk(root):
            folders[:] = sorted(set(folders) - _SKIPPED)
            if ENVIRONMENT in names and Path(top) != root:
                folders[:], names = [], [ENVIRONMENT]
            for name in names:
                path = Path(top) / name
                size = path.stat().st_size if path.exists() else 0  # a dangling link
                sizes[path.relative_to(root).as_posix()] = size
        return cls(root, dict(sorted(sizes.items())))

    @cached_property
    def folders(self) -> set[str]:
        """Every folder with a file somewhere below it; ``.`` is the root."""
        found = {"."}
        for name in self.sizes:
            while name := posixpath.dirname(name):
                found.add(name)
        return found

    @cached_property
    def context(self) -> list[str]:
        """The files that Docker is sent."""
        rules = self._rules()
        return [name for name in self.sizes if not _excluded(name, rules)]

    def _rules(self) -> list[tuple[re.Pattern[str], bool]]:
        # BuildKit takes the Dockerfile's own before the folder's.
        text = self.text("Dockerfile.dockerignore") or self.text(".dockerignore") or ""
        rules = []
        for line in text.splitlines():
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            keeps, pattern = line.startswith("!"), line.lstrip("!").strip()
            pattern = posixpath.normpath(pattern).lstrip("/")
            if pattern and pattern != ".":
                rules.append((re.compile(glob(pattern) + r"(?:/.*)?"), keeps))
        return rules

    def add(self, name: str, text: str) -> None:
        """A file that the build writes itself; it has a text and no size."""
        self._texts[name] = text

    def text(self, name: str) -> str | None:
        """A file's text; None when it is absent, binary or long."""
        if name not in self._texts:
            self._texts[name] = self._read(name)
        return self._texts[name]

    def wide(self, name: str) -> bool:
        """Whether a file is UTF-16."""
        with (self.root / name).open("rb") as file:
            return file.read(2) in _WIDE

    def _read(self, name: str) -> str | None:
        if self.sizes.get(name, TEXT + 1) > TEXT:
            return None
        try:
            raw = (self.root / name).read_bytes()
        except OSError:
            return None
        if raw.startswith(_WIDE):  # what PowerShell's > writes; pip reads it
            return raw.decode("utf-16", errors="replace")
        if _BINARY.search(raw[:4096]):
            return None
        return raw.decode("utf-8", errors="replace")

    def matching(self, pattern: str) -> list[str]:
        """The files of the context that a COPY source names: a file, a folder's, a glob's."""
        wanted = posixpath.normpath(pattern.lstrip("/") or ".")
        if wanted == ".":
            return self.context
        shape = re.compile(f"({glob(wanted)})(?:/.*)?")
        return [name for name in self.context if shape.fullmatch(name)]

    def hidden(self, pattern: str) -> list[str]:
        """The files that a COPY source names and .dockerignore hides."""
        wanted = posixpath.normpath(pattern.lstrip("/") or ".")
        shape = re.compile(f"({glob(wanted)})(?:/.*)?")
        sent = set(self.context)
        return [name for name in self.sizes if name not in sent and shape.fullmatch(name)]


def _excluded(name: str, rules: list[tuple[re.Pattern[str], bool]]) -> bool:
    """Docker's rule: the last pattern that matches the path, or a folder above it, decides."""
    hidden = False
    for pattern, keeps in rules:
        if pattern.fullmatch(name):
            hidden = not keeps
    return hidden


def glob(pattern: str) -> str:
    """A pattern of Go's ``filepath.Match``, with ``**`` as in .dockerignore, as a regex."""
    parts, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
        elif pattern.startswith("**", at):
            parts.append(".*")
            at += 2
        elif char == "[" and (end := pattern.find("]", at + 1)) > 0:
            parts.append(_set(pattern[at : end + 1]))
            at = end + 1
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)))
            at += 1
    return "".join(parts)


def _set(text: str) -> str:
    """A set of characters in its brackets; what is none (``[]``, ``[z-a]``) as it stands."""
    try:
        re.compile(text)
    except re.error:
        return re.escape(text)
    return text


def without_remarks(text: str) -> Iterator[tuple[int, str]]:
    """Line number and line, from 1, comments with ``#`` taken off, empty lines left out."""
    for number, line in enumerate(text.splitlines(), start=1):
        if kept := _REMARK.sub("", line).strip():
            yield number, kept
