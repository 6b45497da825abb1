"""The inference process: takes jobs from the queue, drives the engine, answers finished JSON bytes.

LitServe spawns this process and calls the ``LitAPI`` methods below. Two rules keep it alive
(LitServe 0.2.19): no exception but ``HTTPException`` may leave ``predict`` (one that cannot be
pickled kills the server), and the answer is bytes (JSON of a 2000-token echo is three to four times
dearer through pydantic, and NaN would silently become null).

No ``from __future__ import annotations`` here: LitServe reads the annotations at run time.
"""

import asyncio
import collections
import dataclasses
import functools
import json
import logging
import math
import os
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import litserve
from fastapi import HTTPException
from litserve.specs.base import LitSpec
from starlette.responses import Response

from serve import ensemble, logs
from serve.asking import engine_request, fit_job
from serve.config import ServeConfig
from serve.contract import GREEDY_TEMPERATURE, ProcessRequest
from serve.engine.base import (
    BadGrammar,
    DeadlineExceeded,
    Engine,
    EngineError,
    GenRequest,
    GenResult,
)
from serve.metrics import TokenRate, gpu_peak_bytes, resident_bytes, resident_peak_bytes
from serve.openai_fields import fault
from serve.overflow import ContextOverflow, Fields, Fitted, fit
from serve.rendering import echoed, likeliest, openai_details, render
from serve.response_format import compiled
from serve.rules import Plan, Rules
from serve.startup import announce
from serve.state import State, dies_with, ends_on_word_only, spawned_from
from serve.windows import reads_whole

log = logging.getLogger(__name__)

#: Exit codes of this process: the model cannot be loaded; its engine has died.
LOAD_FAILED, ENGINE_DEAD = 3, 4

#: Seconds between two looks at the engine.
WATCH_S = 1.0

#: What the engine is tried on before the worker says that it is ready.
WARM_UP = "The capital of France is"


@dataclasses.dataclass(frozen=True)
class Job:
    """One /process request on its way to the worker.

    Attributes:
        id: unique among the jobs in flight (clients may use one ``X-Request-Id`` twice).
        body: the validated request.
        received: ``time.monotonic()`` of its arrival (one clock for all processes of a machine).
        request_id: what the log and the ``X-Request-Id`` header call the request.
        ids: the prompt as token ids, fed as they are; None: it is the body's text.
        fields: asked on /v1: nothing is cut from the prompt, and the answer also tells what
            :func:`serve.rendering.openai_details` has.
        fills: the answer may go on to the end of the context, whatever the body says.
        shortens: it may have what room there is, if that is less than the body says.
        streams: the text is asked for while it grows (:class:`Peek`).
        best_of: completions to make, of which the body's ``num_samples`` likeliest are given.
        parse_special: read special tokens in the prompt as such; None: as configured.
        ends: more token ids that end an answer.
        ignore_eos: the model's EOS ends none.
        min_tokens: least tokens of each.
        schema: the JSON schema that the answer must follow; no rule meets it then.
        scores: the field by which logprobs of the prompt's tokens are asked for; None: they are
            not, and an echo may go without.
    """

    id: str
    body: ProcessRequest
    received: float
    request_id: str
    ids: tuple[int, ...] | None = None
    fields: Fields | None = None
    fills: bool = False
    shortens: bool = False
    streams: bool = False
    best_of: int = 1
    parse_special: bool | None = None
    ends: tuple[int, ...] = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    schema: str | None = None
    scores: str | None = None


@dataclasses.dataclass(frozen=True)
class Cancel:
    """The client of job ``id`` has gone."""

    id: str


@dataclasses.dataclass(frozen=True)
class Ping:
    """Asks for the engine's state."""


@dataclasses.dataclass(frozen=True)
class Peek:
    """Asks for the texts of job ``id`` as far as they are."""

    id: str


class Worker(litserve.LitAPI):
    """One model behind LitServe's queue.

    Args:
        model_dir: the folder to serve.
        config: how.
        device: ``cpu`` or ``cuda``.
        spec: the HTTP side (:class:`serve.app.ProtocolSpec`).
        state: shared by the server's processes; ``ready`` is set here.
    """

    def __init__(
        self, model_dir: Path, config: ServeConfig, device: str, spec: LitSpec, state: State
    ) -> None:
        # Asynchronous: every job reaches predict at once, and the engine does the batching.
        super().__init__(enable_async=True, spec=spec, api_path="/process")
        self._model_dir, self._config, self._device = model_dir, config, device
        self._state = state
        self._rules = Rules(config.rules)
        self._reads_whole = False
        self._rule_hits: collections.Counter[tuple[str, str]] = collections.Counter()
        self._ensembles = ensemble.Cost()
        self._tokens_per_second = 0.0
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._growing: dict[str, list[str]] = {}  # texts of the jobs that stream

    def setup(self, device: str) -> None:
        """Starts loading in a thread, so that jobs are taken, and can be cancelled, meanwhile."""
        dies_with(spawned_from())
        ends_on_word_only(self._state)
        logs.configure()
        self._engine: Future[Engine] = Future()
        threading.Thread(target=self._keep_engine, name="keep-engine", daemon=True).start()

    async def decode_request(self, request: Any) -> Any:
        """Jobs arrive as they are."""
        return request  # in an async def: LitServe runs a plain one in a thread, each time

    async def encode_response(self, output: Any) -> Any:
        """Answers leave as they are."""
        return output

    async def predict(self, message: Job | Cancel | Ping | Peek) -> Response | None:
        """Handles one message of the queue; nothing but ``HTTPException`` gets out."""
        try:
            if isinstance(message, Ping):
                return _json(self.report())
            if isinstance(message, Peek):
                return _json({"texts": self._growing.get(message.id, [])})
            if isinstance(message, Job):
                return await self._guarded(message)
        except HTTPException:
            raise
        except Exception as error:
            log.exception("request failed", extra={"id": getattr(message, "request_id", None)})
            raise HTTPException(500, f"internal error: {type(error).__name__}") from None
        task = self._tasks.get(message.id)
        if task:
            task.cancel()
        return None

    async def _guarded(self, job: Job) -> Response | None:
        """Answers a job within its deadline, unless it is cancelled."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[job.id] = task
        try:
            async with asyncio.timeout(self._deadline(job) - time.monotonic()):
                return await self._answer(job)
        except asyncio.CancelledError:
            log.info("cancelled", extra={"id": job.request_id})
            return None
        except (TimeoutError, DeadlineExceeded):
            raise HTTPException(504, f"no answer within {self._config.deadline_s:g} s") from None
        except ContextOverflow as error:
            place, said = "prompt", str(error)
            if job.fields:
                place = job.fields.prompt
                said = error.as_openai(place, None if job.fills else job.fields.limit)
            raise HTTPException(422, [fault(place, said, "context_overflow")]) from None
        except BadGrammar as error:
            raise HTTPException(422, [fault("response_format", str(error))]) from None
        except EngineError as error:
            raise HTTPException(500, str(error)) from None
        finally:
            self._tasks.pop(job.id, None)
            self._growing.pop(job.id, None)

    async def _answer(self, job: Job) -> Response:
        # Shielded: a job that is cancelled must not cancel the loading that all wait for.
        engine = await asyncio.shield(asyncio.wrap_future(self._engine))
        if job.scores and engine.info.unscored:
            said = f"asks for the logprobs of the prompt: {engine.info.unscored}"
            raise HTTPException(422, [fault(job.scores, said, "unscored")])
        ruled = job.ids is None and not job.schema
        plan = self._plan(job.body, engine.text.uncased) if ruled else None
        fitted = fit_job(job, engine, plan, self._config, self._reads_whole)
        results = await self._generate(engine, job, fitted, plan)
        if plan and plan.ensemble:
            results = self._ensembles.choose(results, plan, len(fitted.prompt.ids))
        if job.body.echo_prompt:
            results = [echoed(result, fitted.prompt.texts) for result in results]
        results = likeliest(results, job.body.num_samples)
        if plan:
            results = [self._finish(plan, result) for result in results]
        seconds = time.monotonic() - job.received
        self._log(job, fitted, results, seconds)
        named = job.fields is not None
        answer = render(results, job.body.num_samples, fitted.dropped, seconds, named)
        return _json(answer | openai_details(fitted, results) if named else answer)

    def _plan(self, body: ProcessRequest, uncased: bool) -> Plan | None:
        """What the output rules do to a request; scores of a prompt are none of their business."""
        if body.echo_prompt or body.max_new_tokens == 0:
            return None
        capitals = uncased and self._config.capital_letters
        plan = self._rules.pick(body.prompt, body.max_new_tokens, capitals)
        if plan:
            self._rule_hits.update(
                (plan.name, step) for step in ("match", "wrap")[: 1 + plan.wrapped]
            )
        return plan

    def _finish(self, plan: Plan, result: GenResult) -> GenResult:
        finished, steps = plan.finish(result)
        stopped = ("stop",) if plan.stops and result.finish_reason == "stop" else ()
        self._rule_hits.update((plan.name, step) for step in (*stopped, *steps))
        return finished

    async def _generate(
        self, engine: Engine, job: Job, fitted: Fitted, plan: Plan | None
    ) -> list[GenResult]:
        """All completions of a job; greedy ones are all the same, so only one is made.

        Under a plan with several adapters each of them has those of all, side by side.
        """
        greedy = job.body.temperature <= GREEDY_TEMPERATURE
        grammar = await compiled(engine, job.schema)
        count = 1 if greedy else max(job.best_of, job.body.num_samples)
        alone = [
            engine_request(job, fitted, i, self._deadline(job), plan, grammar) for i in range(count)
        ]
        requests = ensemble.asked(alone, plan)
        if job.streams and not plan:  # a rule may yet change what there is
            requests = self._watched(job, requests)
        futures = [asyncio.wrap_future(engine.submit(request)) for request in requests]
        try:
            return list(await asyncio.gather(*futures))
        finally:
            for request in requests:
                engine.cancel(request.id)  # those still running when one failed, or the client left

    def _watched(self, job: Job, requests: list[GenRequest]) -> list[GenRequest]:
        """The same; their texts are noted while they grow."""
        texts = self._growing[job.id] = [""] * len(requests)

        def note(place: int, text: str) -> None:
            texts[place] = text

        return [
            dataclasses.replace(request, shown=functools.partial(note, place))
            for place, request in enumerate(requests)
        ]

    def _deadline(self, job: Job) -> float:
        return job.received + self._config.deadline_s

    def _log(self, job: Job, fitted: Fitted, results: list[GenResult], seconds: float) -> None:
        """One line about an answer, without its words unless the configuration wants them."""
        figures: dict[str, Any] = {
            "id": job.request_id,
            "status": 200,
            "prompt_tokens": len(fitted.prompt.ids),
            "dropped_tokens": fitted.dropped,
            "new_tokens": sum(len(result.tokens) for result in results),
            "finish": results[0].finish_reason,
            "seconds": round(seconds, 4),
        }
        if self._config.log_prompts:
            texts = ["".join(token.text for token in result.tokens) for result in results]
            text = self._engine.result().text
            prompt = job.body.prompt if job.ids is None else text.spelled(job.ids)
            figures |= {"prompt": prompt, "answers": texts}
        log.info("answered", extra=figures)

    def _keep_engine(self) -> None:
        """Loads the engine, says so, and ends the process when the engine dies."""
        try:
            engine = self._load()
        except Exception as error:
            log.debug("load failed", exc_info=True)
            print(
                f"error: cannot load the model in {self._model_dir}:",
                f"{type(error).__name__}: {error}",
                file=sys.stderr,
                flush=True,
            )
            os._exit(LOAD_FAILED)  # sys.exit would end this thread only
        self._engine.set_result(engine)
        self._state.context = engine.info.context
        self._state.ready = True
        announce(self._config, engine)
        self._watch(engine)

    def _load(self) -> Engine:
        """A warm engine: one that cannot answer is a failure to load, not to serve."""
        from serve.engine import build_engine

        engine = build_engine(self._model_dir, self._config, self._device)
        self._reads_whole = reads_whole(self._model_dir)
        prompt = engine.text.encode_prompt(WARM_UP)
        # Two tokens: the first tries the prompt's pass, the second one that goes on.
        fitted = fit(prompt, 2, engine.info.context, "truncate_left")
        request = GenRequest(
            id="warm-up",
            prompt=fitted.prompt.ids,
            lead=fitted.prompt.lead,
            max_new_tokens=fitted.max_new_tokens,
        )
        engine.submit(request).result(timeout=self._config.deadline_s)
        return engine

    def _watch(self, engine: Engine) -> None:
        """Measures the engine's speed until it is dead; then the main process starts another."""
        rate = TokenRate()
        while engine.heartbeat() != math.inf:
            self._tokens_per_second = rate.see(engine.stats().new_tokens)
            time.sleep(WATCH_S)
        log.error("the engine is dead: this process ends, so that another is started")
        self._state.ready = False
        time.sleep(WATCH_S)  # the answers to its last requests are on their way
        os._exit(ENGINE_DEAD)

    def report(self) -> dict[str, Any]:
        """What /health and /metrics say of the worker."""
        if not self._engine.done():
            return {"health": {"status": "loading"}, "figures": None}
        engine = self._engine.result()
        figures = {
            "stats": dataclasses.asdict(engine.stats()),
            "tokens_per_second": self._tokens_per_second,
            "memory_bytes": resident_bytes(),
            "memory_peak_bytes": resident_peak_bytes(),
            "gpu_memory_bytes": gpu_peak_bytes(engine.info.device),
            "rule_hits": [(*hit, count) for hit, count in self._rule_hits.items()],
            "ensembles": self._ensembles.figures(),
        }
        return {"health": self._health(engine), "figures": figures}

    def _health(self, engine: Engine) -> dict[str, Any]:
        age = engine.heartbeat()
        if age > self._config.deadline_s:
            return {"status": "failed", "reason": "the engine makes no progress"}
        return {"status": "ready", "model": dataclasses.asdict(engine.info), "last_step_s": age}


def _json(content: dict[str, Any]) -> Response:
    # NaN fails here: no JSON has it, and HELM's metrics break on a null.
    return Response(json.dumps(content, allow_nan=False).encode(), media_type="application/json")
