"""Child processes that do not outlive us."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable


def dies_with_parent(how: signal.Signals) -> Callable[[], None] | None:
    """A ``preexec_fn``: Linux sends ``how`` to the child when its parent ends, even by SIGKILL."""

    def ask() -> None:
        pr_set_pdeathsig = 1  # <linux/prctl.h>
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, how)  # libc's: Python has no prctl

    return ask if sys.platform == "linux" else None


def end_with_parent() -> None:
    """Have this process, and each that it forks, end when its parent does.

    A worker that loads rows would wait for ever on a full pipe when this process is killed, and a
    job of torchrun's on the others when that is.
    """
    if ask := dies_with_parent(signal.SIGKILL):
        ask()
        os.register_at_fork(after_in_child=ask)
