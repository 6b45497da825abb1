"""How slow this machine is just now: shared ones drift threefold within an hour.

Limits in seconds are those of an idle machine; a test multiplies its own by ``pace()``, measured
beside what it times, so that it fails by our code's fault only.
"""

import time

USUAL = 0.05  # seconds of processor for the loop below, on the idle machine that limits are set on


def pace() -> float:
    """The present slowness, at least 1: the best of three short loops over their usual time."""
    return max(1.0, min(_loop() for _ in range(3)) / USUAL)


def _loop() -> float:
    started, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number
    return time.process_time() - started
