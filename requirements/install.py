"""Install a lock into the environment of the Python that runs this, and say how far it is.

``python requirements/install.py train [--no-deps] [--require-hashes]`` is what ``make setup`` calls
(pip alone is silent for minutes or prints a thousand lines). What pip says goes to ``setup.log``.
Standard library only: nothing is installed yet.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: By lock: gigabytes of the environment with it, and minutes to download and unpack it (measured on
#: two cores; ``train`` with torch's CUDA build, which is what PyPI has for Linux).
SIZE = {
    "train": (7.1, 9),
    "helm": (0.9, 3),
    "dev": (0.3, 1),
    "gguf": (0.3, 10),
    "onnx": (0.3, 1),
    "clients": (1.3, 4),
    "compress": (0.02, 1),
}
EVERY = 10.0  # seconds between two lines of progress


def install(lock: str, options: list[str]) -> int:
    """Install ``lock.txt``; pip's exit code.

    Args:
        lock: its name.
        options: more of ``pip install``'s.
    """
    gigabytes, minutes = SIZE[lock]
    log = Path(sys.prefix) / "setup.log"
    print(
        f"set-up: {lock} environment in {Path(sys.prefix).name}: {gigabytes:g} GB on the disk, "
        f"about {minutes} minutes, once (log: {log})",
        file=sys.stderr,
    )
    there = any(Path(sys.prefix).glob("lib/python*/site-packages/torch")) or lock != "train"
    free = shutil.disk_usage(sys.prefix).free / 1e9
    if free < gigabytes and not there:  # an interrupted set-up goes on with what it has
        print(f"error: the disk has {free:.1f} GB free; make room and call again", file=sys.stderr)
        return 1
    file = HERE / ("hashed" if "--require-hashes" in options else "") / f"{lock}.txt"
    command = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", *options]
    with subprocess.Popen(
        [*command, "--requirement", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    ) as pip:
        assert pip.stdout
        with log.open("a", encoding="utf-8") as kept:
            progress = _Progress(lock, len(file.read_text().splitlines()))
            last = _follow(pip.stdout, kept.write, progress)
    if pip.returncode:
        print(*last, "set-up failed; the same command goes on from here", sep="\n", file=sys.stderr)
    return pip.returncode


def _follow(
    lines: Iterable[str], keep: Callable[[str], object], progress: "_Progress"
) -> list[str]:
    """Show progress while pip speaks; its newest lines."""
    newest: list[str] = []
    for line in lines:
        keep(line)
        newest = [*newest, line.rstrip()][-15:]
        progress.see(line)
    progress.ended.set()
    return newest


class _Progress:
    """A line every few seconds from a thread of its own: pip is silent while it loads and unpacks.

    Args:
        lock: its name; two environments may be made at once.
        about: packages of the lock.
    """

    def __init__(self, lock: str, about: int) -> None:
        self._lock, self._about, self._started = lock, about, time.monotonic()
        self._found, self._megabytes, self._doing = 0, 0.0, ""
        self.ended = threading.Event()
        threading.Thread(target=self._tell, daemon=True).start()

    def see(self, line: str) -> None:
        """Take in a line of pip's."""
        self._found += line.startswith("Collecting ")
        if size := re.search(r"Downloading .*\(([\d.]+) ([kMG])B\)", line):
            self._megabytes += float(size[1]) * {"k": 1e-3, "M": 1.0, "G": 1e3}[size[2]]
        if line.startswith("Installing collected packages"):
            self._doing = "unpacking all"
            self.say()

    def say(self) -> None:
        """Print how far it is."""
        took = time.monotonic() - self._started
        doing = self._doing or f"{self._found} of about {self._about} packages found"
        said = f"{self._lock}: {doing}, {self._megabytes:,.0f} MB, {took:.0f} s"
        print(f"set-up: {said}", file=sys.stderr)

    def _tell(self) -> None:
        while not self.ended.wait(EVERY):
            self.say()


if __name__ == "__main__":
    sys.exit(install(sys.argv[1], sys.argv[2:]))
