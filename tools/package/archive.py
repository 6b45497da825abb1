"""A zip whose bytes depend on nothing but names and contents."""

import os
import zipfile
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip can hold
UNIX, MODE = 3, 0o100644


def write(folder: Path, target: Path) -> Path:
    """Zip a folder under its own name, sorted, with fixed times and rights; whole or not at all."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    files = [path for path in folder.rglob("*") if path.is_file()]
    with zipfile.ZipFile(temporary, "w") as zipped:
        for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in files):
            entry = zipfile.ZipInfo(f"{folder.name}/{name}", EPOCH)
            entry.create_system, entry.external_attr = UNIX, MODE << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            zipped.writestr(entry, path.read_bytes(), compresslevel=9)
    temporary.replace(target)
    return target
