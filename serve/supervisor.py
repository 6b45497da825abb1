"""The main process: watches the others, starts a dead worker anew, drains before it ends.

LitServe 0.2.19 has a watch of its own; it is replaced here, because it polls, never ends a request
whose worker died, starts a model that cannot be loaded over and over, and cuts off what is running
when it is told to stop. Measured traps that shape this module:

* ``request_queue.get`` of a killed worker goes on waiting in the manager process and swallows the
  next message, so one is sacrificed to it;
* a process asked by ``PR_SET_PDEATHSIG`` to die with its parent dies with the parent's *thread*, so
  all are started from the main one.
"""

import logging
import math
import multiprocessing
import signal
import socket
import time
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager
from multiprocessing.connection import wait
from typing import Any

import litserve
from fastapi import FastAPI

from serve import logs
from serve.state import State, ends_on_word_only, heed_signals, hold_signals
from serve.worker import Cancel, Worker

log = logging.getLogger(__name__)

#: Seconds between two looks at whether the server is to end. A death is noticed at once.
LOOK_S = 0.2

#: Seconds that the HTTP process gets for its last bytes; requests are over by then.
FLUSH_S = 5

#: The server gives up when this many workers died within so many seconds.
DEATHS, DEATHS_WITHIN_S = 3, 60.0


class ServerLost(Exception):
    """The server cannot go on; the message says why."""


class Server(litserve.LitServer):
    """LitServe's server under our supervision.

    Args:
        worker: the model.
        state: shared by the server's processes.
        drain_s: most seconds that a stop waits for accepted requests.
        options: of ``litserve.LitServer``.

    Attributes:
        doors: more sockets to be reached by: LitServe itself takes no port below 1024.
    """

    def __init__(self, worker: Worker, state: State, drain_s: float, **options: Any) -> None:
        super().__init__(worker, **options)
        self.state = state
        self.uvicorn_graceful_timeout = FLUSH_S
        self.doors: list[socket.socket] = []
        self._worker, self._drain_s = worker, drain_s
        self._was_ready = False
        self._deaths: list[float] = []

    def verify_worker_status(self) -> None:
        """Opens the HTTP port at once; LitServe would wait for the worker, for ever if it died."""

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Runs in the HTTP process, after uvicorn has set its signal handlers."""
        ends_on_word_only(self.state)
        async with super().lifespan(app):
            yield

    def _start_server(
        self, port: int, count: int, log_level: str, sockets: list[socket.socket], *rest: Any,
        **options: Any,
    ) -> Any:  # fmt: skip
        """Opens the doors beside LitServe's own socket."""
        doors = [*sockets, *self.doors]
        return super()._start_server(port, count, log_level, doors, *rest, **options)

    def _start_worker_monitoring(self, manager: Any, uvicorn_workers: Any) -> None:
        """Watches until the server is to end; LitServe calls it once all processes run.

        Raises:
            ServerLost: another process than the worker died, or workers die again and again.
        """
        logs.configure()  # LitServe has just set up a logger of its own
        worker = self.inference_workers[0]
        # The HTTP process and the queue's: without either no accepted request is answered.
        others = {p.sentinel for p in multiprocessing.active_children() if p is not worker}
        try:
            self._watch(others)
        finally:
            self.state.stopping = True
        self._shutdown_event.set()

    def _watch(self, others: Set[int]) -> None:
        """Returns when the server was told to stop and has nothing left to wait for."""
        until = math.inf
        heed_signals()  # held since before the children were started
        while not self.state.stopping:
            died = wait([*others, self.inference_workers[0].sentinel], LOOK_S)
            if not others.isdisjoint(died):
                raise ServerLost("the HTTP process or the queue's process died")
            if died:
                self._replace_worker()
            if self.state.draining and until == math.inf:
                until = time.monotonic() + self._drain_s
                log.info("draining", extra={"in_flight": self.state.in_flight})
            elif self.state.draining and (self.state.in_flight == 0 or time.monotonic() > until):
                break
        log.info("stopping", extra={"in_flight": self.state.in_flight})

    def _replace_worker(self) -> None:
        """Starts a worker in place of the dead one, unless that would be in vain."""
        dead = self.inference_workers[0]
        dead.join()
        # A worker that never was ready would fail to load again: see _check_hope.
        self._was_ready |= self.state.ready
        self.state.ready = False
        # First the sacrifice, then the word: what is sent on that word has the queue to itself.
        self._worker.spec.request_queue.put((0, "", time.monotonic(), Cancel("")))
        self.state.deaths += 1
        self._check_hope(_how_it_ended(dead.exitcode))
        hold_signals()
        self.inference_workers[0] = self.launch_single_inference_worker(self._worker, 0)
        heed_signals()

    def _check_hope(self, how: str) -> None:
        now = time.monotonic()
        self._deaths = [t for t in self._deaths if now - t < DEATHS_WITHIN_S] + [now]
        if not self._was_ready:
            raise ServerLost(
                f"the worker died before it was ready ({how}); the reason is in the lines above"
            )
        if len(self._deaths) == DEATHS:
            raise ServerLost(
                f"{DEATHS} workers died within {DEATHS_WITHIN_S:g} s, the last by {how}; the"
                " reason is in the lines above"
            )
        log.error("the worker died: another one is started", extra={"by": how})


def _how_it_ended(exitcode: int) -> str:
    return f"exit code {exitcode}" if exitcode >= 0 else signal.Signals(-exitcode).name
