"""How the environments are made: which Python, how far it is, what is told when it cannot be."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FITS = """#!/bin/sh
exit 0
"""
SHIM = """#!/bin/sh
echo "pyenv: $0: command not found" >&2
exit 127
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def find(home: Path, chosen: str = "") -> subprocess.CompletedProcess[str]:
    """The search on a machine that has nothing but what a test puts into ``home``."""
    env = {"PATH": f"{home / 'bin'}:/usr/bin:/bin", "HOME": str(home), "PYTHON": chosen}
    words = ["/bin/sh", str(ROOT / "requirements" / "find-python.sh"), "day"]
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False)


def test_a_name_on_the_path_is_tried_before_it_is_taken(tmp_path: Path) -> None:
    """pyenv's shims are there for every version, and work for the chosen one."""
    script(tmp_path / "bin" / "python3.12", SHIM)
    kept = script(tmp_path / ".pyenv" / "versions" / "3.12.1" / "bin" / "python3.12", FITS)
    found = find(tmp_path)
    assert (found.returncode, found.stdout.strip()) == (0, str(kept))
    script(tmp_path / "bin" / "python3.12", FITS)
    assert find(tmp_path).stdout.strip() == str(tmp_path / "bin" / "python3.12")


def test_where_there_is_none_it_says_what_to_install(tmp_path: Path) -> None:
    for name in ("python3.12", "python3", "python"):
        script(tmp_path / "bin" / name, SHIM)
    found = find(tmp_path)
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr.startswith("error: no Python 3.12 with venv is here")
    assert "uv python install 3.12" in found.stderr and "make day PYTHON=" in found.stderr


def test_a_python_that_the_user_names_is_taken_or_refused(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "python3.12", FITS)
    other = script(tmp_path / "other" / "python", FITS)
    assert find(tmp_path, str(other)).stdout.strip() == str(other)
    refused = find(tmp_path, "/usr/bin/false")
    assert refused.returncode == 2
    assert "PYTHON=/usr/bin/false is no Python 3.12 with venv" in refused.stderr


def test_make_asks_for_a_python_only_when_an_environment_is_made() -> None:
    done = subprocess.run(
        ["make", "help", "PYTHON=/nowhere"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stderr == ""


# In place of Python: makes environments that hold itself, and notes when each install begins and
# ends; the first waits for the second, or gives up.
STAND_IN = """#!/bin/sh
case "$*" in
  "-m venv "*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
  requirements/install.py*)
    echo "begin $2" >> log
    for i in 1 2 3 4 5 6 7 8 9 10; do
      [ "$(wc -l < log)" -ge 2 ] && break
      sleep 0.3
    done
    echo "end $2" >> log ;;
  "-m tools day"*) echo "day" >> log ;;
esac
exit 0
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What ``make`` reads of a clone, on a machine that has nothing but that Python."""
    folder = tmp_path / "clone"
    (folder / "requirements" / "hashed").mkdir(parents=True)
    locks = ("train", "dev", "helm", "hashed/compress", "hashed/gguf", "hashed/onnx")
    names = ("Makefile", *(f"requirements/{name}.txt" for name in locks))
    for name in (*names, "requirements/find-python.sh"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def make(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    home = clone.parent
    env = {"PATH": f"{home / 'bin'}:/usr/bin:/bin", "HOME": str(home)}
    return subprocess.run(
        ["make", *words], cwd=clone, env=env, capture_output=True, text=True, check=False
    )


def test_environments_are_made_at_once(clone: Path) -> None:
    script(clone.parent / "bin" / "python3.12", STAND_IN)
    done = make(clone, "day")
    assert done.returncode == 0, done.stderr
    log = (clone / "log").read_text().splitlines()
    assert all(line.startswith("begin ") for line in log[:2]), "one waited for the other"
    assert sorted(log[:-1]) == sorted(
        f"{what} {lock}" for what in ("begin", "end") for lock in ("train", "helm", "compress")
    )
    assert log[-1] == "day"
    (clone / "log").unlink()
    assert make(clone, "day").returncode == 0
    assert (clone / "log").read_text() == "day\n", "they are made once"


@pytest.mark.parametrize(("form", "made"), [("gguf", ["gguf"]), ("onnx", ["onnx"]), ("ggfu", [])])
def test_an_export_asks_for_the_environment_of_its_format(
    form: str, made: list[str], clone: Path
) -> None:
    """Whoever wants ONNX, or has misspelt it, need not build llama.cpp."""
    done = make(clone, "--dry-run", "export", f"FORMAT={form}")
    assert done.returncode == 0, done.stderr
    assert [one for one in ("gguf", "onnx") if f"install.py {one} " in done.stdout] == made
    assert f'--format "{form}" --type ""' in done.stdout


@pytest.mark.parametrize("target", ["day", "test"])
def test_without_a_python_it_is_told_once(target: str, clone: Path) -> None:
    for name in ("python3.12", "python3", "python"):
        script(clone.parent / "bin" / name, SHIM)
    done = make(clone, target)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("error: no Python 3.12 with venv is here") == 1
    assert f"make {target} PYTHON=" in done.stderr


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    file = ROOT / "requirements" / "install.py"
    spec = importlib.util.spec_from_file_location("install", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return module


def pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *lines: str, code: int = 0) -> None:
    """Let pip say these lines."""
    said = "".join(f"echo '{line}'\n" for line in lines)
    stand_in = script(tmp_path / "python", f"#!/bin/sh\n{said}exit {code}\n")
    monkeypatch.setattr(sys, "executable", str(stand_in))


def test_progress_is_told_and_everything_is_kept(
    install: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    lines = ["Collecting torch==2.13.0", "Downloading torch.whl (530.7 MB)", "Collecting six"]
    pip(monkeypatch, tmp_path, *lines, "Installing collected packages: six, torch")
    assert install.install("train", []) == 0
    told = capsys.readouterr().err
    assert "7.1 GB on the disk, about 9 minutes, once" in told
    assert "set-up: train: unpacking all, 531 MB, " in told
    assert (tmp_path / "setup.log").read_text().splitlines()[:3] == lines


def test_it_is_told_how_far_pip_is_while_pip_is_silent(
    install: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    quiet = "Collecting torch==2.13.0'; sleep 0.5; echo '"
    pip(monkeypatch, tmp_path, quiet)
    monkeypatch.setattr(install, "EVERY", 0.1)
    assert install.install("train", []) == 0
    assert "set-up: train: 1 of about" in capsys.readouterr().err


def test_a_failure_shows_pips_last_lines_and_the_remedy(
    install: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    pip(monkeypatch, tmp_path, "ERROR: no matching distribution", code=1)
    assert install.install("dev", []) == 1
    told = capsys.readouterr().err
    assert "ERROR: no matching distribution" in told and "the same command goes on" in told


def test_a_disk_too_small_is_told_before_anything_is_loaded(
    install: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    pip(monkeypatch, tmp_path, "Collecting torch")
    monkeypatch.setattr(install.shutil, "disk_usage", lambda path: _Free())
    assert install.install("train", []) == 1
    assert "the disk has 2.0 GB free; make room" in capsys.readouterr().err
    assert not (tmp_path / "setup.log").exists()
    (tmp_path / "lib" / "python3.12" / "site-packages" / "torch").mkdir(parents=True)
    assert install.install("train", []) == 0, "an interrupted set-up goes on with what it has"


class _Free:
    free = 2_000_000_000


def test_the_locks_have_a_size_each(install: Any) -> None:
    assert {"train", "helm", "dev", "gguf", "onnx", "clients", "compress"} == set(install.SIZE)
