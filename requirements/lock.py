"""Write the lock files from what is installed: the packages of each .in file and their needs.

Run by ``make lock``: with the main environment's Python for train, dev and serve, with HELM's for
helm, with llama.cpp's for gguf, with ONNX Runtime's for onnx, with the clients' for clients, with
llm-compressor's for compress.
To move a pin: edit the .in file, install it by hand, run the tests, then lock.
"""

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
#: Packages that torch's CUDA build brings, pinned by itself; with its CPU build they would be dead
#: weight of 4 GB.
CUDA = ("nvidia-", "cuda-")
NO_CUDA = "nvidia-ml-py"  # reads the driver: Axolotl asks for it on every machine
HEAD = {
    "train": "the main environment, from train.in; Python 3.12. torch's CUDA build (PyPI's for\n"
    "# Linux) adds its own exactly pinned nvidia-* and cuda-* packages.",
    "dev": "the tools for tests and lint, from dev.in, on top of train.txt.",
    "serve": "the serving image, from serve.in: a part of train.txt.",
    "helm": "HELM's environment, from helm.in; install with --no-deps: HELM asks for torch.",
    "clients": "the clients that tests use, from clients.in; install with --no-deps: HELM asks\n"
    "# for torch.",
    "gguf": "llama.cpp's environment, from gguf.in; install with --no-deps: its converter asks\n"
    "# for torch.",
    "onnx": "ONNX Runtime's environment, from onnx.in; install with --no-deps: the main one has\n"
    "# the rest.",
    "compress": "llm-compressor's environment, from compress.in; install with --no-deps: it asks\n"
    "# for another transformers than Axolotl.",
}

OWN = ("helm", "gguf", "onnx", "clients", "compress")  # each written by its own Python


def asked(name: str) -> Iterator[Requirement]:
    """The requirements an .in file names."""
    for line in (HERE / f"{name}.in").read_text(encoding="utf-8").splitlines():
        if text := line.partition("#")[0].strip():
            yield Requirement(text)


def closure(requirements: list[Requirement]) -> dict[str, str]:
    """Name and version of the installed packages that the requirements reach."""
    found: dict[str, str] = {}
    while requirements:
        requirement = requirements.pop()
        name = canonicalize_name(requirement.name)
        if name.startswith(CUDA) and name != NO_CUDA:
            continue
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise SystemExit(f"{name} is not installed; install it, then lock") from None
        new = name not in found or bool(requirement.extras)
        found[name] = package.version.partition("+")[0]
        if new:
            requirements += needed(package, requirement.extras)
    return found


def needed(package: importlib.metadata.Distribution, extras: set[str]) -> Iterator[Requirement]:
    """The requirements of a package that hold on this machine, for the extras asked."""
    for text in package.requires or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if not marker or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            requirement.marker = None
            yield requirement


def everything() -> dict[str, str]:
    """All packages of this environment but its installer."""
    names = {canonicalize_name(d.name): d.version for d in importlib.metadata.distributions()}
    return {name: version for name, version in names.items() if name not in ("pip", "setuptools")}


def write(name: str, packages: dict[str, str]) -> None:
    """Write one lock."""
    lines = [f"# Lock of {HEAD[name]}", *(f"{n}=={v}" for n, v in sorted(packages.items()))]
    temporary = HERE / f"{name}.tmp"
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(HERE / f"{name}.txt")


if __name__ == "__main__":
    if sys.argv[1:] in ([name] for name in OWN):
        write(sys.argv[1], everything())
    else:
        train = closure(list(asked("train")))
        write("train", train)
        write("serve", closure(list(asked("serve"))))
        dev = closure(list(asked("dev")))
        write("dev", {name: version for name, version in dev.items() if name not in train})
