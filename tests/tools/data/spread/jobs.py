"""What tasks do in tests: a module, for every task imports it by its name."""

import os
import signal
from pathlib import Path

from tools.data.sources import Gathered, Reading, read_part


def killed_once(reading: Reading) -> Gathered:
    """Reads a part; in the middle of the second one the process is killed, the first time."""
    seen = reading.path.parent.parent / "seen"
    made = read_part(reading)
    with seen.open("a") as file:
        file.write(f"{reading.origin.place(None)}\n")
    second = Path(reading.origin.place(None)).name == "two.jsonl"
    if second and seen.read_text().count("two.jsonl") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return made


def broken(number: int) -> int:
    """Fails as no fault of the user's does."""
    return 1 // number


def full(number: int) -> int:
    """The disk is full."""
    if number:
        raise OSError(28, "No space left on device")
    return number
