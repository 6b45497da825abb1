"""The ledger of the day: who used how many seconds, with no hole where a crash was.

``clock.jsonl`` holds one JSON object a line: an interval's start, a beat every few seconds, and
its stop, each on the disk before work goes on. An interval is as long as its longest line says, so
``kill -9`` or a power cut loses at most one heartbeat. Seconds are monotonic: setting the machine's
clock changes none of them. The ledger has one writer, who holds the run folder's lock.
"""

import contextlib
import datetime
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEARTBEAT = 5.0  # seconds


@dataclass(frozen=True)
class Allowance:
    """What a stage may use of the day.

    Attributes:
        started: ``time.monotonic()`` at the start of the present interval; one clock for all
            processes of the machine.
        spent: seconds that the same work used in earlier, interrupted intervals.
        limit: seconds that it may use in all, ``spent`` included.
    """

    started: float
    spent: float
    limit: float

    def elapsed(self) -> float:
        """Seconds used so far."""
        return self.spent + time.monotonic() - self.started


@dataclass(frozen=True)
class Interval:
    """One stretch of work by one process.

    Attributes:
        stage: what was made.
        work: the stage's fingerprint.
        pid: the process.
        since: UTC time of its start, ISO 8601.
        seconds: its length, as far as the ledger knows.
        ended: whether it came to its stop.
    """

    stage: str
    work: str
    pid: int
    since: str
    seconds: float
    ended: bool


class Clock:
    """A ledger.

    Args:
        path: its file, made by the first interval.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def spend(self, stage: str, work: str, limit: float) -> Iterator[Allowance]:
        """Write down the time that the body takes.

        Args:
            stage: its name.
            work: its fingerprint; intervals of the same work add up.
            limit: seconds that this work may use in all.

        Raises:
            OSError: the ledger cannot be written, so nothing was begun.
        """
        allowance = Allowance(time.monotonic(), self.used({stage: work})[stage], limit)
        # An id beside the pid, which the system gives to others again.
        names = {"id": uuid.uuid4().hex, "stage": stage, "work": work, "pid": os.getpid()}
        ended = threading.Event()

        def note(event: str) -> None:
            seconds = round(time.monotonic() - allowance.started, 3)
            self._append({"event": event, **names, "seconds": seconds, "wall": _wall()})

        def beat() -> None:
            while not ended.wait(HEARTBEAT):
                with contextlib.suppress(OSError):  # a full disk: a later line makes up for this
                    note("beat")

        note("start")
        beats = threading.Thread(target=beat, name="clock", daemon=True)
        beats.start()
        try:
            yield allowance
        finally:
            ended.set()
            beats.join()  # a beat behind the stop would open the interval again
            with contextlib.suppress(OSError):  # would hide why the stage itself failed
                note("stop")

    def used(self, works: Mapping[str, str]) -> dict[str, float]:
        """Seconds by stage, of the very works that are asked for.

        Args:
            works: fingerprint by stage.
        """
        seconds = dict.fromkeys(works, 0.0)
        for one in self.intervals():
            if works.get(one.stage) == one.work:
                seconds[one.stage] += one.seconds
        return seconds

    def intervals(self) -> list[Interval]:
        """All intervals, oldest first."""
        found: dict[str, Interval] = {}
        for line in self._lines():
            before = found.get(line["id"])
            found[line["id"]] = Interval(
                stage=line["stage"],
                work=line["work"],
                pid=line["pid"],
                since=before.since if before else line["wall"],  # of the first line that is whole
                seconds=max(line["seconds"], before.seconds if before else 0.0),
                ended=line["event"] == "stop",
            )
        return list(found.values())

    def torn(self) -> int:
        """Number of lines that a crash or a full disk left in pieces; each hides a heartbeat."""
        return sum(_parsed(line) is None for line in self._raw())

    def _lines(self) -> Iterator[dict[str, Any]]:
        return filter(None, map(_parsed, self._raw()))

    def _raw(self) -> list[bytes]:
        return self.path.read_bytes().splitlines() if self.path.exists() else []

    def _append(self, line: dict[str, Any]) -> None:
        """Add a line and wait for the disk; a torn one before it is ended, to stay alone."""
        with self.path.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            whole = file.read(1) in (b"", b"\n")
            file.write((b"" if whole else b"\n") + json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line's object; no part of an object is itself one, so a torn line is None."""
    try:
        value = json.loads(line)
    except ValueError:  # of JSON, or of the decoder: a power cut may leave zeros
        return None
    return value if isinstance(value, dict) else None


def _wall() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
