"""The engine ``transformers``: continuous batching over a slot cache, an own loop over the model.

Requests join and leave at every step. A step feeds one token of every answer that goes on, and
pieces of new prompts up to a budget, in one forward pass. transformers' own manager of this kind
gives no prompt logprobs, stop strings or seeds of a request's own, and one bad request ends it.
"""

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace

import torch

from serve.config import ServeConfig
from serve.engine import memory, sampling
from serve.engine.answer import Answer
from serve.engine.attention import Piece
from serve.engine.base import DeadlineExceeded, EngineError, EngineStats, GenRequest, GenResult
from serve.engine.checks import check_request
from serve.engine.loading import LoadedModel
from serve.engine.slots import Slot, Slots
from serve.engine.stepping import Feed, Stepper
from serve.engine.turns import Turns

log = logging.getLogger(__name__)

#: Forward passes that may fail one after another before the engine gives up.
FAILURES = 3


class _Sequence:
    """A request from arrival to answer.

    Attributes:
        tokens: the prompt, then what was generated.
        done: how many of them have keys and values.
        slot: its place in the cache once it has one.
    """

    def __init__(self, request: GenRequest, answer: Answer, future: Future[GenResult]) -> None:
        self.request, self.answer, self.future = request, answer, future
        self.tokens = list(request.prompt)
        self.numbers = sampling.generator(request.seed)
        self.done = 0
        self.slot: Slot | None = None
        self.cancelled = False
        self.last_logits = torch.empty(0)  # under echo: after the piece before

    @property
    def pending(self) -> int:
        """Tokens still to be fed."""
        return len(self.tokens) - self.done

    @property
    def scores_prompt(self) -> bool:
        """Whether what is fed next is a prompt to be echoed with its scores."""
        return self.request.echo and self.done < len(self.request.prompt)

    def ended(self, now: float) -> Exception | None:
        """Why it is not to be continued, if so."""
        if self.cancelled:
            return CancelledError()
        if now > self.request.deadline:
            return DeadlineExceeded("the deadline passed before the answer was complete")
        return None


@dataclass(frozen=True)
class _Part:
    """A sequence's part of one step.

    Attributes:
        sequence: whose.
        count: tokens fed.
        completes: whether its next token can be chosen after it.
    """

    sequence: _Sequence
    count: int
    completes: bool

    @property
    def slot(self) -> int:
        """Index of the sequence's slot."""
        assert self.sequence.slot is not None
        return self.sequence.slot.index

    def feed(self) -> Feed:
        """What the model is fed."""
        sequence, start = self.sequence, self.sequence.done
        wanted = self.count if sequence.scores_prompt else int(self.completes)
        tokens = sequence.tokens[start : start + self.count]
        piece = Piece(self.slot, start, start + self.count)
        return Feed(piece, tokens, wanted, sequence.request.adapter)


_Stepped = list[tuple[_Part, torch.Tensor]]


class Batching:
    """An :class:`serve.engine.base.Engine` that generates many requests together.

    Args:
        loaded: the model.
        stepper: it, with our attention.
        config: bounds of batch, step and memory.
    """

    def __init__(self, loaded: LoadedModel, stepper: Stepper, config: ServeConfig) -> None:
        count, context = memory.slots(loaded, stepper.token_bytes, config)
        stepper.allocate(count, context)
        self.text, self.info = loaded.text, replace(loaded.info, context=context)
        self._eos_ids, self._stepper = loaded.eos_ids, stepper
        self.grammars = loaded.grammars
        self._vocabulary = loaded.model.get_input_embeddings().num_embeddings
        self._adapters = frozenset(loaded.adapters.names) if loaded.adapters else frozenset()
        self._turns = Turns(config.prefill_tokens, config.deterministic)
        self._slots = Slots(count, unit=config.prefill_tokens if config.deterministic else 1)
        self._stats = EngineStats(cache_tokens=count * context)
        self._inbox: queue.SimpleQueue[_Sequence | None] = queue.SimpleQueue()
        self._known: dict[str, _Sequence] = {}
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
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
            answer = Answer(request, self.text, self._eos_ids)
            with self._gate:
                if self._closed.is_set():
                    raise EngineError("the engine is closed")
                # Else there is nothing to make and nothing to score.
                if answer.finish_reason is None or (request.echo and request.prompt):
                    self._queue(_Sequence(request, answer, future))
                else:
                    future.set_result(answer.result())
        except EngineError as error:
            future.set_exception(error)
        return future

    def _queue(self, sequence: _Sequence) -> None:
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

    # The engine's thread, from here on.

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
        self._drop_ended()  # first: their slots are given out in the same step
        self._admit()
        parts = self._compose()
        if not parts:
            return
        try:
            logits = self._stepper.step([part.feed() for part in parts])
        except Exception as error:
            log.exception("a forward pass failed")
            self._lose_all(EngineError(f"the model failed: {type(error).__name__}"))
            return
        self._failures = 0
        self._count(steps=1)
        sound = self._sound(parts, logits)
        self._score_prompts(sound)  # first: it reads ``done`` as it was before the pass
        self._advance(sound)

    def _sound(self, parts: list[_Part], logits: list[torch.Tensor]) -> _Stepped:
        """The parts that came out as numbers, with their logits; the others' requests fail."""
        sound: _Stepped = []
        for part, rows in zip(parts, logits, strict=True):
            if part.slot in self._stepper.damaged:
                self._discard(part)
            else:
                sound.append((part, rows))
        return sound

    def _discard(self, part: _Part) -> None:
        """Fails a request whose keys or values are NaN, and leaves none of them in its slot.

        Left there, they would reach whoever takes the slot next: as a prefix it shares, or masked
        beside a longer neighbour.
        """
        start = part.sequence.done
        self._stepper.cache.clear(part.slot, start, start + part.count)
        self._end(part.sequence, EngineError(sampling.BROKEN))

    def _drop_ended(self) -> None:
        now = time.monotonic()
        for sequence in [*self._running, *self._waiting]:
            reason = sequence.ended(now)
            if reason:
                self._end(sequence, reason)

    def _admit(self) -> None:
        """Gives waiting requests slots, in order but for those that gain by waiting."""
        for sequence in list(self._waiting):
            request = sequence.request
            place = self._slots.take(request.prompt, request.adapter, reuse=not request.echo)
            if place is None:
                continue
            if place.source:
                self._stepper.cache.copy(place.source.index, place.slot.index, place.reused)
            sequence.slot, sequence.done = place.slot, place.reused
            self._waiting.remove(sequence)
            self._running.append(sequence)
            self._count(
                prompt_tokens=len(request.prompt),
                reused_tokens=place.reused,
                prefix_hits=int(place.reused > 0),
            )

    def _compose(self) -> list[_Part]:
        """What is fed next: a token of each answer, and prompts while the budget lasts."""
        answers = [sequence for sequence in self._running if sequence.pending == 1]
        prompts = [sequence for sequence in self._running if sequence.pending > 1]
        parts = [_Part(sequence, 1, completes=True) for sequence in answers]
        for place, count in self._turns.next([s.pending for s in prompts], len(answers)):
            parts.append(_Part(prompts[place], count, count == prompts[place].pending))
        # The order that Batch and the stepper want.
        return sorted(parts, key=lambda part: (part.count > 1, part.slot))

    def _score_prompts(self, stepped: _Stepped) -> None:
        """Echo: gives the answers their prompts' tokens."""
        for part, rows in stepped:
            sequence = part.sequence
            if sequence.scores_prompt:
                with self._guarded(sequence):
                    start = sequence.done
                    chunk = sequence.tokens[start : start + part.count]
                    sequence.answer.add_prompt(
                        *sampling.score_prompt(
                            sequence.request, start, chunk, sequence.last_logits, rows
                        )
                    )
                    sequence.last_logits = rows[-1:].clone()  # a view would keep the whole piece's

    def _advance(self, stepped: _Stepped) -> None:
        """Notes what was fed; chooses the next tokens."""
        for part, _ in stepped:
            part.sequence.done += part.count
            if part.sequence.slot:  # none where scoring its prompt has failed
                part.sequence.slot.ready = part.sequence.done
        ready = [
            (part.sequence, rows[-1:])
            for part, rows in stepped
            if part.completes and part.sequence.slot
        ]
        for sequence, _ in ready:
            if sequence.answer.finish_reason:  # a prompt that was only to be scored
                self._end(sequence)
        ready = [(sequence, rows) for sequence, rows in ready if sequence.slot]
        if ready:
            self._choose([sequence for sequence, _ in ready], torch.cat([r for _, r in ready]))

    def _choose(self, sequences: list[_Sequence], logits: torch.Tensor) -> None:
        """One more token for each."""
        drawn = sampling.draw(
            sampling.only(logits, [s.answer.allowed for s in sequences]),
            [s.request for s in sequences],
            [s.numbers for s in sequences],
            [s.answer.barred for s in sequences],
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
    def _guarded(self, sequence: _Sequence) -> Iterator[None]:
        """Whatever goes wrong with one request stays with it."""
        try:
            yield
        except EngineError as error:
            self._end(sequence, error)
        except Exception as error:
            log.exception("request %s failed in the engine", sequence.request.id)
            self._end(sequence, EngineError(f"the engine failed: {type(error).__name__}"))

    def _end(self, sequence: _Sequence, error: Exception | None = None) -> None:
        """Answers a request and frees its slot."""
        self._known.pop(sequence.request.id, None)
        if sequence.slot:
            self._slots.release(sequence.slot, sequence.tokens, sequence.done)
            sequence.slot = None
            self._running.remove(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        if error:
            sequence.future.set_exception(error)
        else:
            sequence.future.set_result(sequence.answer.result())

    def _lose_all(self, error: EngineError) -> None:
        """After a failed pass nothing in the cache can be trusted."""
        for sequence in list(self._running):
            self._end(sequence, error)
        self._slots.forget()
        with contextlib.suppress(RuntimeError):  # a card that failed may take no order any more
            self._stepper.cache.clear_all()
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
