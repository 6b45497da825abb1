"""A base image made of Debian packages, where no registry of images can be reached.

It stands in for ``python:3.11-bookworm``: Debian 12 with its own Python 3.11 and a C compiler.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.errors import UserError
from tools.rehearse.programs import call, printed

NAME = "localhost/oneday-base:bookworm"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates,gcc,libc6-dev,make"


def image(buildah: Sequence[str], log: Path) -> str:
    """The image's name; made on first use.

    Args:
        buildah: the program and its global options.
        log: output of what makes it.

    Raises:
        UserError: debootstrap is not installed.
        StageError: the packages cannot be had.
    """
    if NAME in _names(buildah):
        return NAME
    if not shutil.which("debootstrap"):
        raise UserError(
            "no base image: debootstrap makes one (apt-get install debootstrap), or give BASE= an "
            "image that Buildah has"
        )
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        call(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)], log)
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        container = printed(*buildah, "from", "scratch")
        call([*buildah, "add", "--quiet", container, str(root), "/"], log)
        call([*buildah, "commit", "--quiet", "--rm", container, NAME], log)
    return NAME


def _names(buildah: Sequence[str]) -> list[str]:
    found = json.loads(printed(*buildah, "images", "--json") or "null") or []
    return [name for one in found for name in one.get("names") or []]
