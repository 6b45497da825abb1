"""Child processes that do not outlive us, and memory that goes back when it is freed."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

#: Under these glibc gives a large block back as soon as it is freed. By itself it raises the size
#: that goes back at once up to 32 MiB, and keeps what is freed by thread: a third of a training's
#: peak on a CPU was memory that nobody held (5.4 against 3.8 GiB of a model of 135 M parameters).
RETURNING = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_ARENA_MAX": "1"}
_MALLOPT = {"MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_ARENA_MAX": -8}  # <malloc.h>


def return_memory() -> None:
    """As ``RETURNING`` for this process, which has begun: glibc reads the variables at its start.

    A user's own values stay; other C libraries than glibc have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for name, value in RETURNING.items():
        if mallopt and name not in os.environ:
            mallopt(_MALLOPT[name], int(value))


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
