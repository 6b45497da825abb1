"""The base image of Debian packages: the Python that is copied into it runs there."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.errors import UserError
from tools.rehearse import base

# In place of debootstrap: this system's own libraries, those alone that Python asks for.
SYSTEM = """#!{python}
import re, shutil, subprocess, sys
from pathlib import Path
home, root = Path(sys.base_prefix), Path(sys.argv[-1])
asking = [home / "bin/python{version}", *home.rglob("lib-dynload/*.so")]
text = subprocess.run(["ldd", *asking], capture_output=True, text=True).stdout
for file in {{Path(name) for name in re.findall(r"(?<=\\s)/[^\\s:]+(?= \\()", text)}}:
    if not file.is_relative_to(home) and "{missing}" not in file.name:
        (root / file.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / file.relative_to("/"))
for folder in ("etc", "usr/local", "tmp"):
    (root / folder).mkdir(parents=True)
lines = {{f"/{{one.parent.relative_to(root)}}" for one in root.rglob("*.so*")}}
(root / "etc/ld.so.conf").write_text("\\n".join(sorted(lines | {{"/usr/local/lib"}})))
"""
BUILDAH = """#!/bin/sh
case "$1" in
  images) echo '[]' ;;
  from) echo working ;;
  add) chroot "$4" /usr/local/bin/python{version} -c 'import sys; print(sys.prefix)' > {told} ;;
  commit) echo "$5" >> {told} ;;
esac
"""
Make = Callable[..., list[str]]
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def stand_in(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make the image; what its Python says in it, and its name."""
    if os.geteuid():
        pytest.skip("chroot is root's alone")
    if sys.base_prefix == "/usr":
        pytest.skip("this is the system's own Python, which is not copied")

    def image(missing: str = "no-such-library") -> list[str]:
        told, folder = tmp_path / "told", tmp_path / "bin"
        script = SYSTEM.format(python=sys.executable, version=VERSION, missing=missing)
        stand_in(folder / "debootstrap", script)
        buildah = stand_in(folder / "buildah", BUILDAH.format(version=VERSION, told=told))
        monkeypatch.setenv("PATH", f"{folder}:/usr/sbin:/sbin:/usr/bin:/bin")
        assert base.image([str(buildah)], tmp_path / "log") == base.NAME
        return told.read_text().splitlines()

    return image


def test_python_runs_in_it_wherever_it_was_built(make: Make) -> None:
    """pyenv's is linked to a library that lies beside it, under the path it was built for."""
    assert make() == ["/usr/local", base.NAME]


def test_a_python_that_wants_other_libraries_is_refused_with_the_reason(make: Make) -> None:
    with pytest.raises(UserError, match=r"does not run on Debian 12 \(.*libsqlite3.*\); use uv's"):
        make(missing="sqlite3")


def test_the_systems_own_python_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "bin" / "debootstrap", "#!/bin/sh\n")
    buildah = stand_in(tmp_path / "bin" / "buildah", BUILDAH)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    with pytest.raises(UserError, match="the system's own cannot be copied; use uv's"):
        base.image([str(buildah)], tmp_path / "log")
