"""Peak of a child's memory, that of its own children included."""

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
        output: what it printed, stdout and stderr.
    """

    code: int
    seconds: float
    peak: int
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
    return Ended(code, seconds, watch.peak, text)


class _Watch(threading.Thread):
    """Looks at a process and all below it, many times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._main = psutil.Process(pid)
        self.ended, self.peak = threading.Event(), 0

    def run(self) -> None:
        """Until told that it has ended."""
        while not self.ended.wait(EVERY):
            self.peak = max(self.peak, _resident(self._main))


def _resident(main: psutil.Process) -> int:
    """Bytes resident now, or the most that one of them alone ever had.

    Not ``ru_maxrss``: what a parent held when it forked counts there as the child's.
    """
    total = largest = 0
    try:
        for process in (main, *main.children(recursive=True)):
            total += process.memory_info().rss
            largest = max(largest, _most(process.pid))
    except (psutil.Error, OSError):  # one ended while it was looked at
        pass
    return max(total, largest)


def _most(pid: int) -> int:
    """The kernel's own mark of a process, which misses no short peak; 0 where it is ending."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    marks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(marks[0]) * 1024 if marks else 0
