"""The engine ``hf-dynamic``: one request at a time over transformers' own ``DynamicCache``.

It works for any causal model that transformers can load, so it stands in where the batching engine
(:mod:`serve.engine.batching`) does not pass its self-check.

``generate`` is not used: it cannot score a prompt, keeps stop strings in its output, refuses zero
new tokens and takes hidden defaults from the model's generation_config.
"""

import inspect
import logging
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from serve.engine import sampling
from serve.engine.answer import Answer
from serve.engine.base import DeadlineExceeded, EngineError, EngineStats, GenRequest, GenResult
from serve.engine.loading import LoadedModel

log = logging.getLogger(__name__)

#: Prompt tokens per forward pass. Bounds the float32 logits of an echoed prompt (256 x 50k x 4 B =
#: 50 MB) and how long a cancel waits.
PREFILL_CHUNK = 256


@dataclass
class _Job:
    request: GenRequest
    future: Future[GenResult] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises if the request is not to be continued."""
        if self.cancelled.is_set():
            raise CancelledError
        if time.monotonic() > self.request.deadline:
            raise DeadlineExceeded("the deadline passed before the answer was complete")


class HfDynamic:
    """An :class:`serve.engine.base.Engine` that generates one request at a time, in order.

    Args:
        loaded: the model.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.text, self.info = loaded.text, loaded.info
        self._model: Any = loaded.model
        self._eos_ids = loaded.eos_ids
        parameters = inspect.signature(loaded.model.forward).parameters
        self._can_skip_logits = "logits_to_keep" in parameters
        self._inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._jobs: dict[str, _Job] = {}
        self._closed = threading.Event()
        self._beat: float | None = None  # when the running request last progressed
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: GenRequest) -> Future[GenResult]:
        """See :class:`serve.engine.base.Engine`."""
        job = _Job(request)
        if self._closed.is_set():
            job.future.set_exception(EngineError("the engine is closed"))
            return job.future
        self._jobs[request.id] = job
        job.future.add_done_callback(lambda _: self._jobs.pop(request.id, None))
        self._inbox.put(job)
        return job.future

    def cancel(self, request_id: str) -> None:
        """See :class:`serve.engine.base.Engine`."""
        job = self._jobs.get(request_id)
        if job:
            job.cancelled.set()
            job.future.cancel()  # works only while it waits; a running one stops at its next step

    def heartbeat(self) -> float:
        """See :class:`serve.engine.base.Engine`."""
        if not self._thread.is_alive():
            return float("inf")
        beat = self._beat
        return 0.0 if beat is None else time.monotonic() - beat

    def stats(self) -> EngineStats:
        """See :class:`serve.engine.base.Engine`."""
        running = self._beat is not None
        return EngineStats(running=running, waiting=max(0, len(self._jobs) - running))

    def close(self) -> None:
        """See :class:`serve.engine.base.Engine`."""
        self._closed.set()
        for request_id in list(self._jobs):
            self.cancel(request_id)
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._inbox.get()) is not None:
            if job.future.set_running_or_notify_cancel():
                self._beat = time.monotonic()
                self._settle(job)
                self._beat = None

    def _settle(self, job: _Job) -> None:
        """Runs one job and ends its future; whatever goes wrong stays with this job."""
        try:
            job.future.set_result(self._generate(job))
        except (CancelledError, EngineError) as error:
            job.future.set_exception(error)
        except Exception as error:
            log.exception("request %s failed in the engine", job.request.id)
            job.future.set_exception(EngineError(f"the model failed: {type(error).__name__}"))

    @torch.inference_mode()
    def _generate(self, job: _Job) -> GenResult:
        request = job.request
        answer = Answer(request, self.text, self._eos_ids)
        if answer.finish_reason and not request.echo:
            return answer.result()
        cache = DynamicCache(config=self._model.config)
        logits = self._prefill(job, cache, answer)
        numbers = sampling.generator(request.seed)
        while answer.finish_reason is None:
            token = sampling.choose(logits[0], request, numbers)
            answer.add(token, sampling.score(logits, [token], request.candidates)[0])
            if answer.finish_reason is None:
                logits = self._forward(job, [token], cache, rows=1)
        return answer.result()

    def _prefill(self, job: _Job, cache: DynamicCache, answer: Answer) -> torch.Tensor:
        """Feeds the prompt, scoring it under echo.

        Returns:
            ``[1, vocabulary]``: the logits after the prompt.
        """
        request = job.request
        last = torch.empty(0)  # logits before the chunk at hand
        for start, chunk in _chunks(request.prompt):
            logits = self._forward(job, chunk, cache, rows=len(chunk) if request.echo else 1)
            if request.echo:
                tokens, scores = _prompt_scores(request, start, chunk, last, logits)
                answer.add_prompt(tokens, scores)
            last = logits[-1:]
        return last

    def _forward(self, job: _Job, ids: list[int], cache: DynamicCache, rows: int) -> torch.Tensor:
        """One pass over new tokens; returns the logits of the last ``rows`` of them."""
        job.check()
        options = {"logits_to_keep": rows} if self._can_skip_logits else {}
        batch = torch.tensor([ids], device=self._model.device)
        output = self._model(input_ids=batch, past_key_values=cache, use_cache=True, **options)
        self._beat = time.monotonic()
        return sampling.check(output.logits[0, -rows:])


def _chunks(prompt: tuple[int, ...]) -> Iterator[tuple[int, list[int]]]:
    """The prompt in pieces of PREFILL_CHUNK, each with its place."""
    for start in range(0, len(prompt), PREFILL_CHUNK):
        yield start, list(prompt[start : start + PREFILL_CHUNK])


def _prompt_scores(
    request: GenRequest, start: int, chunk: list[int], last: torch.Tensor, logits: torch.Tensor
) -> tuple[list[int], list[sampling.Score]]:
    """Scores a chunk of the prompt: token i by the logits of token i-1.

    Args:
        request: the request.
        start: place of the chunk in the prompt.
        chunk: its token ids.
        last: ``[1, vocabulary]`` logits of the token before the chunk (unused at the very start).
        logits: ``[len(chunk), vocabulary]`` logits of the chunk.

    Returns:
        The chunk's tokens that belong to the text, and their scores.
    """
    if start:
        return chunk, sampling.score(torch.cat([last, logits[:-1]]), chunk, request.candidates)
    tokens = chunk[request.lead :]
    # Nothing of the text precedes its first token, so that one has no score of its own.
    head = [sampling.Score(0.0, ())][: len(tokens)]
    scores = sampling.score(logits[request.lead : -1], tokens[1:], request.candidates)
    return tokens, head + scores
