"""A base image made of Debian packages, where no registry of images can be reached.

It stands in for ``python:3.12-bookworm``: Debian 12 with a C compiler, and a copy of the Python
3.12 that runs this, as Debian 12 has 3.11 and Debian 13 has 3.13.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.errors import StageError, UserError
from tools.rehearse.programs import call, printed

NAME = "localhost/oneday-base:bookworm-3.12"
SUITE = "bookworm"
# The libraries are those that Python's own modules are linked to.
PACKAGES = (
    "ca-certificates,gcc,libc6-dev,make,libbz2-1.0,libffi8,liblzma5,libncursesw6,libreadline8,"
    "libsqlite3-0,libssl3,libuuid1,zlib1g"
)
# What the steps of a Dockerfile need of Python, each linked to libraries of the system.
_TRIAL = "import bz2, ctypes, ensurepip, lzma, sqlite3, ssl, uuid, venv, zlib"
_OTHER = "use uv's (uv python install 3.12), or give BASE= an image with python3.12"


def image(buildah: Sequence[str], log: Path) -> str:
    """The image's name; made on first use.

    Args:
        buildah: the program and its global options.
        log: output of what makes it.

    Raises:
        UserError: debootstrap is not installed, or this Python cannot be copied there.
        StageError: the packages cannot be had.
    """
    if NAME in _names(buildah):
        return NAME
    if not shutil.which("debootstrap"):
        raise UserError(
            "no base image: debootstrap makes one (apt-get install debootstrap), or give BASE= an "
            "image that Buildah has"
        )
    if sys.base_prefix == "/usr":  # its files lie among the system's own
        raise UserError(
            "no base image: one is made with a copy of the Python that runs make, and the system's "
            f"own cannot be copied; {_OTHER}"
        )
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        call(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)], log)
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        _copy_python(root / "usr/local")
        _try_python(root, log)
        container = printed(*buildah, "from", "scratch")
        call([*buildah, "add", "--quiet", container, str(root), "/"], log)
        call([*buildah, "commit", "--quiet", "--rm", container, NAME], log)
    return NAME


def _copy_python(prefix: Path) -> None:
    """Copy the interpreter; Python finds its library by where its program lies."""
    home, name = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (prefix / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(home / "bin" / name, prefix / "bin" / name)
    for part in {f"lib/{name}", f"{sys.platlibdir}/{name}", f"include/{name}"}:
        ignored = shutil.ignore_patterns("__pycache__", "site-packages", "test")
        if (home / part).is_dir():  # some Pythons come without headers
            shutil.copytree(home / part, prefix / part, ignore=ignored, dirs_exist_ok=True)
    (prefix / "lib" / name / "site-packages").mkdir()
    for library in (home / "lib").glob("libpython*.so*"):
        shutil.copy(library, prefix / "lib" / library.name, follow_symlinks=False)


def _try_python(root: Path, log: Path) -> None:
    """Run the copy in the new system, before an image is made of both.

    Raises:
        UserError: it wants libraries that Debian 12 has not, a newer libc for one.
    """
    # pyenv's Python looks for libpython where it was built, and then in this list.
    call(["ldconfig", "-r", str(root)], log)
    name = f"/usr/local/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    try:
        call(["chroot", str(root), name, "-c", _TRIAL], log)
    except StageError as error:
        reason = str(error).splitlines()[-1]
        raise UserError(
            f"no base image: the Python of {sys.base_prefix} does not run on Debian 12 ({reason}); "
            f"{_OTHER}"
        ) from None


def _names(buildah: Sequence[str]) -> list[str]:
    found = json.loads(printed(*buildah, "images", "--json") or "null") or []
    return [name for one in found for name in one.get("names") or []]
