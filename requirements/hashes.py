"""Write requirements/hashed/: the locks with the SHA-256 of each package's file, for the images.

Run by ``make lock`` after ``lock.py``. pip resolves the pins without installing them and reports
which file it would take, so the hashes are those of Linux on x86-64 and CPython 3.12. torch's CUDA
build brings the packages of its own that the plain locks leave out. The locks for a CPU take torch
where this machine's pip finds the CPU build (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS).
Arguments name some of the locks.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NO_SOURCES = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT")
LOCKS = ("serve-cuda", "serve-cpu", "train-cuda", "train-cpu", "helm", "gguf", "onnx", "compress")
#: PyTorch's own CPU build for CPython 3.12 (download.pytorch.org/whl/cpu), for a machine whose pip
#: reaches PyPI only, where torch is the CUDA build: version, SHA-256.
TORCH_CPU = ("2.13.0+cpu", "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2")
OF_CUDA = re.compile(r"(nvidia-(?!ml-py)|cuda-)")  # what the CUDA build brings


def pins(lock: str) -> list[str]:
    """The lines of a plain lock."""
    lines = (HERE / f"{lock}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def report(lines: list[str], *options: str, own_sources: bool) -> list[dict[str, Any]]:
    """What pip would install for the pins.

    Args:
        lines: the pins.
        options: of ``pip install``.
        own_sources: take what this machine's pip is set up to find, too.
    """
    env = dict(os.environ)
    if not own_sources:
        env = {name: value for name, value in env.items() if name not in NO_SOURCES}
        env["PIP_CONFIG_FILE"] = os.devnull
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--quiet", "--report", "-", *options, "--requirement", file.name]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: list[dict[str, Any]] = json.loads(done.stdout)["install"]
    return found


def locked(item: dict[str, Any]) -> tuple[str, str, str]:
    """Name, version and SHA-256 of one item of pip's report."""
    info, data = item["download_info"], item["metadata"]
    known = info["archive_info"].get("hashes", {}).get("sha256")
    address = urllib.parse.urlsplit(info["url"])
    if not known and address.scheme == "file":
        path = Path(urllib.request.url2pathname(address.path))
        known = hashlib.sha256(path.read_bytes()).hexdigest()
    name = re.sub(r"[-_.]+", "-", data["name"]).lower()
    return name, data["version"], known


def write(name: str, found: list[tuple[str, str, str]]) -> None:
    """Write one lock."""
    lines = [f"# {name}: written by requirements/hashes.py. Linux, x86-64, CPython 3.12."]
    for package, version, sha256 in sorted(found):
        lines += [f"{package}=={version.partition('+')[0]} \\", f"    --hash=sha256:{sha256}"]
    folder = HERE / "hashed"
    folder.mkdir(exist_ok=True)
    temporary = folder / f"{name}.tmp"
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(folder / f"{name}.txt")


def resolved(name: str) -> list[tuple[str, str, str]]:
    """The packages of one lock."""
    lock, _, device = name.partition("-")
    if lock in ("serve", "train"):
        found = [locked(item) for item in report(pins(lock), own_sources=device == "cpu")]
        torch = next(version for package, version, _ in found if package == "torch")
        if device == "cpu" and torch == TORCH_CPU[0].partition("+")[0]:
            found = [one for one in found if one[0] != "torch" and not OF_CUDA.match(one[0])]
            found.append(("torch", *TORCH_CPU))
        elif (device == "cpu") != torch.endswith("+cpu"):
            raise SystemExit(
                f"{name}: pip finds torch {torch}; for the CPU build call this with "
                "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu"
            )
        return found
    return [locked(item) for item in report(pins(name), "--no-deps", own_sources=False)]


if __name__ == "__main__":
    for each in sys.argv[1:] or LOCKS:
        write(each, resolved(each))
