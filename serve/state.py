"""What the processes of one server share, and how a child hangs on the main one.

The main process watches, the HTTP process answers, the worker generates. They see each other's
state through one small piece of shared memory: a look at it costs nothing and waits for nobody,
also while a process is busy, loading or dead.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.sharedctypes import RawValue
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class State(ctypes.Structure):
    """Shared fields; each has one writer, so none needs a lock. Made by :func:`shared_state`.

    Attributes:
        draining: the main process was told to stop: no new request to generate is accepted.
        stopping: what is still running is given up; children may end.
        ready: the worker has loaded the model and warmed up (the main process takes it back).
        context: most tokens of prompt and completion together; 0 until the worker was ready.
        in_flight: requests to generate that the HTTP process has accepted and not yet answered.
        deaths: workers that have died; a job sent before the last death will not be answered.
    """

    draining: bool
    stopping: bool
    ready: bool
    context: int
    in_flight: int
    deaths: int

    _fields_ = (
        ("draining", ctypes.c_bool),
        ("stopping", ctypes.c_bool),
        ("ready", ctypes.c_bool),
        ("context", ctypes.c_long),
        ("in_flight", ctypes.c_long),
        ("deaths", ctypes.c_long),
    )


def shared_state() -> State:
    """A state that forked children see and that can be handed to spawned ones."""
    return RawValue(State)


def dies_with(parent: int) -> None:
    """Ends this process when its parent ends, even by SIGKILL (Linux only).

    Strictly, when the *thread* that started this process ends: the server starts its processes from
    the main thread.

    Args:
        parent: process id the parent has; a parent that is gone already ends this process at once.
    """
    if sys.platform != "linux":
        return
    pr_set_pdeathsig = 1  # <linux/prctl.h>
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def children_die_with_this_process() -> None:
    """Ties every process forked from here on; a spawned one calls :func:`dies_with` itself."""
    parent = os.getpid()
    os.register_at_fork(after_in_child=lambda: dies_with(parent))


def spawned_from() -> int:
    """Process id of the process that started this one with ``multiprocessing``."""
    parent = multiprocessing.parent_process()
    assert parent is not None and parent.pid is not None
    return parent.pid


def hold_signals() -> None:
    """Keeps SIGINT and SIGTERM waiting, here and in children until they call :func:`heed_signals`.

    A child that is still importing would end at them.
    """
    resource_tracker.ensure_running()  # when it starts, it lets go of these two for everybody
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def heed_signals() -> None:
    """Lets SIGINT and SIGTERM through, also those that wait."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def ends_on_word_only(state: State) -> None:
    """Makes this child heed SIGTERM once the main process is stopping, and never SIGINT.

    Ctrl+C, and a SIGTERM to the whole process group, reach every process at once; a worker that
    ended at that would take the accepted requests with it.
    """
    heed: Callable[[int, FrameType | None], object] | int | None = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        if state.stopping:
            signal.signal(number, heed)
            signal.raise_signal(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    heed_signals()
