"""What a user sees while a verb works: plain lines and one progress bar."""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# Nothing this project starts may call home (Axolotl's telemetry, the hub's, HELM's none).
QUIET = {
    "AXOLOTL_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",  # it warns of deadlocks at every fork after use
    # A busy neighbour makes spinning OpenMP threads ten times slower (a step of 3 s took 30 s).
    "OMP_WAIT_POLICY": "PASSIVE",
}


# Lines that packages log at start and that look like faults, by logger: of what follows nothing is
# wrong, for the CPU's own code is there as well, and what is deprecated is for the package to mend.
_HARMLESS = {
    "torch.utils._pytree": "is an Enum subclass and is now natively supported",
    "torchao": "Skipping import of cpp extensions",
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward from kernels-community",
}


def settle() -> None:
    """Before anything heavy is imported: the environment of our children for ourselves, too.

    OpenMP reads its part of it when torch is loaded. A user's own values stay.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for name, words in _HARMLESS.items():
        logging.getLogger(name).addFilter(_without(words))


def _without(words: str) -> Callable[[logging.LogRecord], bool]:
    return lambda record: words not in record.getMessage()


def say(text: str) -> None:
    """Print one line at once, also into a pipe."""
    print(text, flush=True)


def bar(total: int, label: str, unit: str) -> Any:
    """A tqdm progress bar that also reads well in a log file (one line every few seconds)."""
    from tqdm import tqdm

    quiet = not sys.stderr.isatty()
    return tqdm(
        total=total, desc=label, unit=unit, mininterval=10 if quiet else 0.1, leave=not quiet
    )


def each(items: Iterable[Any], total: int, label: str, unit: str) -> Iterator[Any]:
    """The items, with a bar over them."""
    with bar(total, label, unit) as progress:
        for item in items:
            yield item
            progress.update()


def environment(**extra: str) -> dict[str, str]:
    """The environment for a child process: ours, without telemetry."""
    return {**os.environ, **QUIET, **extra}


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, ``1:02:03``."""
    whole = round(seconds)
    minutes, rest = divmod(abs(whole), 60)
    # What rounds to nothing has no sign: -0:00:00 would say that a day was passed.
    return f"{'-' if whole < 0 else ''}{minutes // 60}:{minutes % 60:02}:{rest:02}"
