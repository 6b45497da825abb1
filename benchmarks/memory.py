"""Resident memory of a server over time, and whether it stays flat."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

#: The first share of the time is warm-up: caches fill, allocators find their size.
WARM_UP = 0.25

#: And at least so many seconds of it.
WARM_UP_SECONDS = 15.0

#: The rest is cut into so many equal slices; the median of each is compared.
SLICES = 6

MIB = 2**20


@dataclass(frozen=True)
class Reading:
    """Bytes at one moment, of all processes and of the largest one (the worker)."""

    seconds: float
    total: int
    worker: int


@dataclass
class MemoryWatch:
    """Readings of a process and its descendants.

    Attributes:
        root: process id of the server's main process.
        readings: in order of time.
    """

    root: int
    readings: list[Reading] = field(default_factory=list)

    def processes(self) -> list[psutil.Process]:
        """The main process and its descendants."""
        main = psutil.Process(self.root)
        return [main, *main.children(recursive=True)]

    async def run(self, every: float) -> None:
        """Reads until cancelled."""
        start = time.monotonic()
        while True:
            sizes = [process.memory_info().rss for process in self.processes()]
            self.readings.append(Reading(time.monotonic() - start, sum(sizes), max(sizes)))
            await asyncio.sleep(every)


def levels(readings: Sequence[Reading], worker: bool) -> list[float]:
    """The median MiB of each slice after the warm-up."""
    end = readings[-1].seconds
    begin = max(WARM_UP * end, WARM_UP_SECONDS)
    width = (end - begin) / SLICES
    found = []
    for place in range(SLICES):
        low, high = begin + place * width, begin + (place + 1) * width
        inside = [r for r in readings if low <= r.seconds <= high]
        found.append(statistics.median(r.worker if worker else r.total for r in inside) / MIB)
    return found


def spread(levels: Sequence[float]) -> float:
    """How far apart lowest and highest level are, in percent of the lowest."""
    return 100 * (max(levels) - min(levels)) / min(levels)
