"""Files that are written whole, and known by their content."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.console import bar

BLOCK = 2**22  # bytes read at once
LONG = 2**28  # bytes; fewer are hashed before a bar would be seen


def digest(value: Any) -> str:
    """SHA-256 (hex) of a value's canonical JSON."""
    # Every fingerprint is of this form: another one would have all finished stages made again.
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    return _digest(path, lambda count: None)


def file_digests(paths: Sequence[Path], label: str) -> dict[Path, str]:
    """SHA-256 (hex) of each file's content, with a bar over the bytes when there are many.

    Args:
        paths: the files.
        label: what the bar is called.
    """
    total = sum(path.stat().st_size for path in paths)
    with bar(total, label, "B") if total >= LONG else contextlib.nullcontext() as progress:
        if progress:
            progress.unit_scale = True
        seen = progress.update if progress else lambda count: None
        return {path: _digest(path, seen) for path in paths}


def _digest(path: Path, seen: Callable[[int], Any]) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
            seen(len(block))
    return found.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old or the new text, never a part."""
    # In the same folder: a rename is whole only within one file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # else a power cut may leave the new name with no text
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON, as whole as ``write_text``."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False))


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Where a folder is made that takes ``path``'s place once it is whole, or never does.

    Yields:
        Its place until then; nothing is there yet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target: the last step is a rename, which cannot leave the file system.
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        made = Path(scratch) / "made"
        yield made
        shutil.rmtree(path, ignore_errors=True)
        made.rename(path)


def read_json(path: Path) -> Any:
    """The value in ``path``, or None when it is absent or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
