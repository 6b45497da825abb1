"""Child processes that do not outlive us."""

import ctypes
import signal
import sys
from collections.abc import Callable


def dies_with_parent(how: signal.Signals) -> Callable[[], None] | None:
    """A ``preexec_fn``: Linux sends ``how`` to the child when its parent ends, even by SIGKILL."""

    def ask() -> None:
        pr_set_pdeathsig = 1  # <linux/prctl.h>
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, how)  # libc's: Python has no prctl

    return ask if sys.platform == "linux" else None
