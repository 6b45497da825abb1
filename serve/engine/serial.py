"""What engines share that answer one request at a time: the queue, the thread, its end."""

import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from typing import Any

from serve.engine.answer import Answer
from serve.engine.base import DeadlineExceeded, EngineError, EngineStats, GenRequest, GenResult
from serve.engine.checks import check_request
from serve.engine.loading import LoadedModel

log = logging.getLogger(__name__)

#: Forward passes that may fail one after another before the engine gives up.
FAILURES = 3


@dataclass
class Job:
    """A request on its way through the engine."""

    request: GenRequest
    future: Future[GenResult] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises if the request is not to be continued."""
        if self.cancelled.is_set():
            raise CancelledError
        if time.monotonic() > self.request.deadline:
            raise DeadlineExceeded("the deadline passed before the answer was complete")


class Serial(ABC):
    """An :class:`serve.engine.base.Engine` that takes requests in order, one at a time.

    Args:
        loaded: the model.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.text, self.info = loaded.text, loaded.info
        self.grammars = loaded.grammars
        self._model: Any = loaded.model
        self._adapters, self._eos_ids = loaded.adapters, loaded.eos_ids
        self._names = frozenset(loaded.adapters.names) if loaded.adapters else frozenset()
        self._vocabulary = loaded.model.get_input_embeddings().num_embeddings
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._jobs: dict[str, Job] = {}
        self._stats = EngineStats()
        self._failures = 0
        self._over: str | None = None  # why nothing is taken any more
        self._gate = threading.Lock()  # nothing enters the inbox once it is over
        self._beat: float | None = None  # when the running request last progressed
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: GenRequest) -> Future[GenResult]:
        """See :class:`serve.engine.base.Engine`."""
        job = Job(request)
        try:
            check_request(request, self.info, self._vocabulary, self._names)
            with self._gate:
                if self._over:
                    raise EngineError(self._over)
                self._jobs[request.id] = job
                self._inbox.put(job)
        except EngineError as error:
            job.future.set_exception(error)
        job.future.add_done_callback(lambda _: self._jobs.pop(request.id, None))
        return job.future

    def cancel(self, request_id: str) -> None:
        """See :class:`serve.engine.base.Engine`."""
        job = self._jobs.get(request_id)
        if job:
            job.cancelled.set()
            job.future.cancel()  # works only while it waits; a running one stops at its next step

    def heartbeat(self) -> float:
        """See :class:`serve.engine.base.Engine`."""
        beat = self._beat  # read once: the engine's thread may set it to None meanwhile
        if self._over or not self._thread.is_alive():
            return float("inf")
        return 0.0 if beat is None else time.monotonic() - beat

    def stats(self) -> EngineStats:
        """See :class:`serve.engine.base.Engine`."""
        running = int(self._beat is not None)
        return replace(self._stats, running=running, waiting=max(0, len(self._jobs) - running))

    def close(self) -> None:
        """See :class:`serve.engine.base.Engine`."""
        self._end("the engine is closed")
        for request_id in list(self._jobs):
            self.cancel(request_id)
        self._inbox.put(None)
        self._thread.join()

    def progressed(self, **counts: int) -> None:
        """On the engine's thread: a forward pass has ended well. Adds to the counters."""
        self._beat, self._failures = time.monotonic(), 0
        added = {name: getattr(self._stats, name) + count for name, count in counts.items()}
        self._stats = replace(self._stats, **added)

    @abstractmethod
    def _generate(self, job: Job, answer: Answer) -> None:
        """Fills the answer until it has a finish reason; on the engine's thread.

        Calls ``job.check()`` before each forward pass and ``self.progressed()`` after it. An
        exception but :class:`EngineError` counts as a failed pass.
        """

    def _end(self, reason: str) -> None:
        with self._gate:
            self._over = self._over or reason  # the first reason is the cause

    def _run(self) -> None:
        while not self._over and (job := self._inbox.get()):
            if job.future.set_running_or_notify_cancel():
                self._beat = time.monotonic()
                self._settle(job)
                self._beat = None
        while not self._inbox.empty():
            job = self._inbox.get()
            if job and job.future.set_running_or_notify_cancel():
                job.future.set_exception(EngineError(self._over))

    def _settle(self, job: Job) -> None:
        """Runs one job and ends its future; whatever goes wrong stays with this job."""
        try:
            job.future.set_result(self._answer(job))
        except (CancelledError, EngineError) as error:
            job.future.set_exception(error)
        except Exception as error:
            log.exception("request %s failed in the engine", job.request.id)
            self._failures += 1
            if self._failures >= FAILURES:
                self._end(f"the engine is dead: {FAILURES} forward passes failed in a row")
            job.future.set_exception(EngineError(f"the model failed: {type(error).__name__}"))

    def _answer(self, job: Job) -> GenResult:
        answer = Answer(job.request, self.text, self._eos_ids)
        if answer.finish_reason is None or (job.request.echo and job.request.prompt):
            self._stats = replace(
                self._stats, prompt_tokens=self._stats.prompt_tokens + len(job.request.prompt)
            )
            self._generate(job, answer)
        return answer.result()
