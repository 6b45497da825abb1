"""Peak of a child's memory, that of its own children included."""

import re
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools.console import environment

EVERY = 0.1  # seconds between two looks: each reads every process of the machine


@dataclass(frozen=True)
class Ended:
    """A child that has ended.

    Attributes:
        code: its exit status.
        seconds: it took.
        peak: bytes resident at once, of it and all below it; pages that two of them share count
            twice.
        own: the most of them that were no pages of files, which the kernel takes back where memory
            is short.
        output: what it printed, stdout and stderr.
    """

    code: int
    seconds: float
    peak: int
    own: int
    output: str


def run(words: list[str], log: Path, cwd: Path, **variables: str) -> Ended:
    """A child to its end.

    Args:
        words: its command line.
        log: takes what it prints; what was there goes.
        cwd: where it runs.
        variables: of its environment, beside ours.
    """
    begun = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=environment(HF_HUB_OFFLINE="1", **variables),
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        watch = _Watch(process.pid)
        watch.start()
        try:
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            watch.ended.set()
            watch.join()
    seconds = time.monotonic() - begun
    text = log.read_text(encoding="utf-8", errors="replace")
    return Ended(code, seconds, watch.peak, watch.own, text)


class _Watch(threading.Thread):
    """Looks at a process and all below it, many times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._main = psutil.Process(pid)
        self.ended, self.peak, self.own = threading.Event(), 0, 0

    def run(self) -> None:
        """Until told that it has ended."""
        while not self.ended.wait(EVERY):
            resident, own = _held(self._main)
            self.peak, self.own = max(self.peak, resident), max(self.own, own)


def _held(main: psutil.Process) -> tuple[int, int]:
    """Bytes resident now, or the most that one of them alone ever had; and no file's of those now.

    Not ``ru_maxrss``: what a parent held when it forked counts there as the child's.
    """
    total = largest = own = 0
    try:
        for process in (main, *main.children(recursive=True)):
            told = _told(process.pid)
            total += told.get("VmRSS", 0)
            own += told.get("RssAnon", 0)
            # The kernel's own mark of a process, which misses no short peak.
            largest = max(largest, told.get("VmHWM", 0))
    except (psutil.Error, OSError):  # one ended while it was looked at
        pass
    return max(total, largest), own


def _told(pid: int) -> dict[str, int]:
    """What the kernel says of a process's memory, in bytes; nothing where it is ending."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return {name: int(kb) * 1024 for name, kb in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.M)}
