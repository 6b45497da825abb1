"""What engines share that answer many requests together: the queue, the thread, its turns, its end.

A turn is one step of the model: requests that have ended leave, waiting ones join, the model is
asked what comes next in each of them, and a token is chosen for each. An engine says what its model
is fed (:meth:`Loop._compose`, :meth:`Loop._forward`) and what becomes of the logits.
"""

import contextlib
import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterator, Sized
from concurrent.futures import CancelledError, Future
from dataclasses import replace

import torch

from serve.engine import sampling
from serve.engine.answer import Answer
from serve.engine.base import (
    DeadlineExceeded,
    EngineError,
    EngineStats,
    GenRequest,
    GenResult,
    ModelInfo,
)
from serve.engine.checks import check_request
from serve.engine.loading import LoadedModel

log = logging.getLogger(__name__)

#: Forward passes that may fail one after another before the engine gives up.
FAILURES = 3


class Sequence:
    """A request from arrival to answer.

    Attributes:
        tokens: the prompt, then what was generated.
        cancelled: nobody waits for it any more.
    """

    def __init__(self, request: GenRequest, answer: Answer, future: Future[GenResult]) -> None:
        self.request, self.answer, self.future = request, answer, future
        self.tokens = list(request.prompt)
        self.numbers = sampling.generator(request.seed)
        self.cancelled = False

    def ended(self, now: float) -> Exception | None:
        """Why it is not to be continued, if so."""
        if self.cancelled:
            return CancelledError()
        if now > self.request.deadline:
            return DeadlineExceeded("the deadline passed before the answer was complete")
        return None


class Loop[S: Sequence, Work: Sized, Logits](ABC):
    """An :class:`serve.engine.base.Engine` that generates many requests together.

    Args:
        loaded: the model.
        info: what is said of it.
        stats: the counters as they begin.
        never: ids that are never chosen, whoever asks; scores are the model's own all the same.
    """

    #: What a request is while it is here; a subclass of :class:`Sequence` that ``S`` stands for.
    sequence: type[S]

    def __init__(
        self,
        loaded: LoadedModel,
        info: ModelInfo,
        stats: EngineStats,
        never: Collection[int] = (),
    ) -> None:
        self.text, self.info, self.grammars = loaded.text, info, loaded.grammars
        self._eos_ids, self._never = loaded.eos_ids, frozenset(never) - loaded.eos_ids
        self._vocabulary = loaded.model.get_input_embeddings().num_embeddings
        self._adapters = frozenset(loaded.adapters.names) if loaded.adapters else frozenset()
        self._stats = stats
        self._inbox: queue.SimpleQueue[S | None] = queue.SimpleQueue()
        self._known: dict[str, S] = {}
        self._waiting: deque[S] = deque()
        self._running: list[S] = []
        self._failures = 0
        self._closed = threading.Event()
        self._gate = threading.Lock()  # nothing enters the inbox once it is closed
        self._beat: float | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: GenRequest) -> Future[GenResult]:
        """See :class:`serve.engine.base.Engine`."""
        future: Future[GenResult] = Future()
        try:
            check_request(request, self.info, self._vocabulary, self._adapters)
            sequence = self.sequence(request, Answer(request, self.text, self._eos_ids), future)
            with self._gate:
                if self._closed.is_set():
                    raise EngineError("the engine is closed")
                if self._asks_model(sequence):
                    self._queue(sequence)
                else:
                    future.set_result(sequence.answer.result())
        except EngineError as error:
            future.set_exception(error)
        return future

    def _asks_model(self, sequence: S) -> bool:
        """Whether there is anything to make or to score."""
        request = sequence.request
        return sequence.answer.finish_reason is None or (request.echo and bool(request.prompt))

    def _queue(self, sequence: S) -> None:
        """Hands a request to the engine's thread; the gate is held."""
        self._known[sequence.request.id] = sequence  # first: cancel() may come at once
        # From here on only the engine ends it: a cancelled future takes no result.
        sequence.future.set_running_or_notify_cancel()
        self._inbox.put(sequence)

    def cancel(self, request_id: str) -> None:
        """See :class:`serve.engine.base.Engine`."""
        sequence = self._known.get(request_id)
        if sequence:
            sequence.cancelled = True

    def heartbeat(self) -> float:
        """See :class:`serve.engine.base.Engine`."""
        if not self._thread.is_alive():
            return float("inf")
        beat = self._beat  # read once: the engine's thread may set it to None meanwhile
        return 0.0 if beat is None else time.monotonic() - beat

    def stats(self) -> EngineStats:
        """See :class:`serve.engine.base.Engine`."""
        running = len(self._running)
        return replace(self._stats, running=running, waiting=max(0, len(self._known) - running))

    def close(self) -> None:
        """See :class:`serve.engine.base.Engine`."""
        self._end_intake()
        self._inbox.put(None)
        self._thread.join()

    def _end_intake(self) -> None:
        """What has passed the gate is in the inbox, which is read once more; nothing follows."""
        with self._gate:
            self._closed.set()

    # What an engine is; on its own thread, as everything from here on.

    @abstractmethod
    def _admit(self) -> None:
        """Lets waiting requests join those that run, by :meth:`_start`."""

    @abstractmethod
    def _compose(self) -> Work:
        """What the model is fed in this turn; empty: nothing can be."""

    @abstractmethod
    def _forward(self, work: Work) -> Logits:
        """The model's pass; an exception fails all that run."""

    @abstractmethod
    def _take(self, work: Work, logits: Logits) -> None:
        """Does with the logits what the requests want, by :meth:`_choose` in the end."""

    def _release(self, sequence: S) -> None:  # noqa: B027  # not every engine has something
        """Gives back what a request that is over has held."""

    def _forget(self) -> None:  # noqa: B027
        """Drops what a failed pass may have spoilt."""

    def _run(self) -> None:
        while not self._closed.is_set():
            self._receive()
            if self._waiting or self._running:
                self._beat = time.monotonic()
                self._turn()
        self._receive_all()
        failed = self._failures >= FAILURES
        for sequence in [*self._waiting, *self._running]:
            self._end(sequence, EngineError("the model failed") if failed else CancelledError())

    def _receive(self) -> None:
        """Takes what has arrived; sleeps while there is nothing at all to do."""
        if not self._waiting and not self._running:
            self._beat = None  # idle, not stuck
            sequence = self._inbox.get()
            if sequence:
                self._waiting.append(sequence)
        self._receive_all()

    def _receive_all(self) -> None:
        while not self._inbox.empty():  # only this thread takes from it
            sequence = self._inbox.get()
            if sequence:
                self._waiting.append(sequence)

    def _turn(self) -> None:
        """One step; an error of the model itself fails all that took part in it."""
        self._drop_ended()  # first: their places are given out in the same step
        self._admit()
        work = self._compose()
        if not len(work):
            return
        try:
            logits = self._forward(work)
        except Exception as error:
            log.exception("a forward pass failed")
            self._lose_all(EngineError(f"the model failed: {type(error).__name__}"))
            return
        self._failures = 0
        self._count(steps=1)
        self._take(work, logits)

    def _drop_ended(self) -> None:
        now = time.monotonic()
        for sequence in [*self._running, *self._waiting]:
            reason = sequence.ended(now)
            if reason:
                self._end(sequence, reason)

    def _start(self, sequence: S) -> None:
        """A waiting request runs from now on."""
        self._waiting.remove(sequence)
        self._running.append(sequence)
        self._count(prompt_tokens=len(sequence.request.prompt))

    def _choose(self, sequences: list[S], logits: torch.Tensor) -> None:
        """One more token for each; ``logits`` are ``[sequences, vocabulary]`` in float32."""
        drawn = sampling.draw(
            sampling.only(logits, [s.answer.allowed for s in sequences]),
            [s.request for s in sequences],
            [s.numbers for s in sequences],
            [s.answer.barred for s in sequences],
            self._never,
        )
        self._count(new_tokens=len(drawn))
        for sequence, result in zip(sequences, drawn, strict=True):
            with self._guarded(sequence):
                if isinstance(result, EngineError):
                    raise result
                sequence.answer.add(*result)
                if sequence.answer.finish_reason:
                    self._end(sequence)
                else:
                    sequence.tokens.append(result[0])

    @contextlib.contextmanager
    def _guarded(self, sequence: S) -> Iterator[None]:
        """Whatever goes wrong with one request stays with it."""
        try:
            yield
        except EngineError as error:
            self._end(sequence, error)
        except Exception as error:
            log.exception("request %s failed in the engine", sequence.request.id)
            self._end(sequence, EngineError(f"the engine failed: {type(error).__name__}"))

    def _end(self, sequence: S, error: Exception | None = None) -> None:
        """Answers a request and frees its place."""
        self._known.pop(sequence.request.id, None)
        if sequence in self._running:
            self._running.remove(sequence)
            self._release(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        if error:
            sequence.future.set_exception(error)
        else:
            sequence.future.set_result(sequence.answer.result())

    def _lose_all(self, error: EngineError) -> None:
        """After a failed pass nothing that it has written can be trusted."""
        for sequence in list(self._running):
            self._end(sequence, error)
        with contextlib.suppress(RuntimeError):  # a card that failed may take no order any more
            self._forget()
        self._failures += 1
        if self._failures >= FAILURES:
            log.error("%d forward passes failed in a row: the engine stops", FAILURES)
            self._end_intake()

    def _count(self, **added: int) -> None:
        stats = self._stats
        # A new object each time: other threads read it without a lock.
        self._stats = replace(
            stats, **{name: getattr(stats, name) + n for name, n in added.items()}
        )
