"""The machine a benchmark ran on: what it is, and whether others used it meanwhile."""

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any, Self

import psutil

PACKAGES = ("torch", "transformers", "litserve", "fastapi", "uvicorn", "aiohttp")

#: Above this much of one core used by others, figures are false: two cores are all we measured on.
IDLE_CORES = 0.1


def facts(device: str = "cpu") -> dict[str, Any]:
    """Processor, card if it is used, memory, load and versions, JSON-ready."""
    return {
        "card": _card_name() if device == "cuda" else "",
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def computes_bfloat16() -> bool:
    """Whether the processor has units for bfloat16; without them it is slower than float32."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    flags = next((line.partition(":")[2].split() for line in lines if line[:5] == "flags"), [])
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags)


def _card_name() -> str:
    import torch

    card = torch.cuda.get_device_properties(0)
    return f"{card.name}, {card.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"


class Others:
    """How many cores other programs use, on average, while the ``with`` body runs.

    Ours are this process and all its descendants. What a descendant used that ended meanwhile
    counts as others', so that processes are started and stopped outside.
    """

    cores = 0.0

    def __enter__(self) -> Self:
        self._start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        all_before, ours_before, then = self._start
        everything, ours, now = self._now()
        used = (everything - all_before) - (ours - ours_before)
        self.cores = max(0.0, used / (now - then))

    def _now(self) -> tuple[float, float, float]:
        """CPU seconds of the machine, those of our processes, and the time."""
        times = psutil.cpu_times()
        everything = sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
        me = psutil.Process()
        mine = [p.cpu_times() for p in (me, *me.children(recursive=True))]
        return everything, sum(t.user + t.system for t in mine), time.monotonic()


def cores_in_use(seconds: float = 3.0) -> float:
    """Cores that others use now, watched for some seconds."""
    with Others() as others:
        time.sleep(seconds)
    return others.cores
