"""Write requirements/hashed/: the locks with the SHA-256 of each package's file, for the images.

Run by ``make lock`` after ``lock.py``. pip resolves the pins without installing them and reports
which file it would take, so the hashes are those of Linux on x86-64 and CPython 3.11. torch's CUDA
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
LOCKS = ("serve-cuda", "serve-cpu", "train-cuda", "train-cpu", "helm", "kernels", "kernel-tools")
KERNELS = ("flash-attn",)  # of gpu.txt: what one card needs beside train.txt
KERNEL_TOOLS = ("ninja==1.13.0", "wheel==0.45.1")  # what it is built with


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


def source_hash(pin: str) -> tuple[str, str, str]:
    """Name, version and SHA-256 of a source package whose metadata take torch and wheel to make."""
    name, _, version = pin.partition("==")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-build-isolation", "--no-binary", name, "--dest", folder, pin]
        env = {**os.environ, "FLASH_ATTENTION_SKIP_CUDA_BUILD": "TRUE"}
        if subprocess.run(command, env=env, check=False).returncode:
            raise SystemExit(f"{pin}: to make its metadata, torch and wheel must be installed")
        (file,) = Path(folder).iterdir()
        return name, version, hashlib.sha256(file.read_bytes()).hexdigest()


def write(name: str, found: list[tuple[str, str, str]]) -> None:
    """Write one lock."""
    lines = [f"# {name}: written by requirements/hashes.py. Linux, x86-64, CPython 3.11."]
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
        if (device == "cpu") != torch.endswith("+cpu"):
            raise SystemExit(
                f"{name}: pip finds torch {torch}; for the CPU build call this with "
                "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu"
            )
        return found
    if name == "kernels":
        kernels = [pin for pin in pins("gpu") if pin.partition("==")[0] in KERNELS]
        return [source_hash(pin) for pin in kernels]
    asked = pins("helm") if name == "helm" else list(KERNEL_TOOLS)
    return [locked(item) for item in report(asked, "--no-deps", own_sources=False)]


if __name__ == "__main__":
    for each in sys.argv[1:] or LOCKS:
        write(each, resolved(each))
