"""OpenAI's endpoints: POST /v1/completions, POST /v1/chat/completions, GET /v1/models.

They ask the worker as /process does: a request becomes jobs, whose prompts are texts, tokenized by
the same code, or token ids, fed as they are. What differs: a prompt that leaves no room is refused
and never cut (OpenAI's answers have no place to say so, and lm-eval would score the wrong tokens),
and output rules meet text prompts to be continued only. A chat is made of token ids.

LitServe's ``OpenAISpec`` (0.2.19) cannot carry them. It is the spec of a LitAPI, and each LitAPI
has a worker, so a model, of its own; its ``predict`` must be a generator, where ours answers bytes
to many at once; and of OpenAI's API it has the chat alone, without ``seed``, ``logprobs`` or a
finish reason other than "stop". Its message model is used (``serve.openai_requests``).

No ``from __future__ import annotations`` here: FastAPI must see the annotations themselves.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from fastapi import HTTPException, Request
from starlette.responses import Response, StreamingResponse

from serve.chat import ChatTemplate
from serve.config import ServeConfig
from serve.contract import ProcessRequest, encodable
from serve.openai_answers import ChatForm, Envelope, Form, Stream, TextForm, broken
from serve.openai_errors import as_openai
from serve.openai_fields import Fault, fault, header
from serve.openai_requests import ChatRequest, CompletionRequest, Prompt, Sampling
from serve.overflow import Fields
from serve.text import TextCodec
from serve.worker import Job

#: The header that says to how many tokens a chat's limit was shortened.
SHORTENED = "X-Shortened-Max-Tokens"


class Asker(Protocol):
    """Who asks the worker (:class:`serve.app.ProtocolSpec`)."""

    @property
    def context(self) -> int:
        """Most tokens of prompt and completion together; 0 until the worker has loaded."""

    async def complete(self, jobs: Sequence[Job], request: Request) -> list[dict[str, Any]]:
        """The worker's answers.

        Raises:
            HTTPException: one of the jobs failed; the others are given up.
        """

    def follow(
        self, jobs: Sequence[Job], request: Request
    ) -> AsyncIterator[tuple[list[str], list[dict[str, Any]] | None]]:
        """The texts of all completions as they grow, and in the end the answers."""


def add_openai_routes(
    app: Any, asker: Asker, text: TextCodec, model_dir: Path, config: ServeConfig
) -> None:
    """Adds the routes to the application.

    Args:
        app: the HTTP process's.
        asker: asks the worker.
        text: the model's tokenizer.
        model_dir: for the model's name and chat template.
        config: ``name`` and ``chat_overflow``.
    """
    name = config.name or model_dir.resolve().name
    endpoints = Endpoints(asker, text, ChatTemplate.load(model_dir), name, config)
    app.post("/v1/completions")(endpoints.completions)
    app.post("/v1/chat/completions")(endpoints.chat)
    app.get("/v1/models")(endpoints.models)
    app.get("/v1/models/{name:path}")(endpoints.one_model)


class Endpoints:
    """The routes' functions.

    Args:
        asker: asks the worker.
        text: the model's tokenizer.
        template: the model's chat template.
        model: the model's name.
        config: ``chat_overflow``.
    """

    def __init__(
        self,
        asker: Asker,
        text: TextCodec,
        template: ChatTemplate,
        model: str,
        config: ServeConfig | None = None,
    ) -> None:
        self._asker, self._text, self._template, self._model = asker, text, template, model
        self._config = config or ServeConfig()
        self._started = int(time.time())

    async def completions(self, body: CompletionRequest, request: Request) -> Response:
        """Continue or score prompts."""
        _check([*body.faults(), *self._unknown(body.prompt), *self._no_stops(body)])
        jobs = completion_jobs(body, request.state.request_id)
        return await self._answer(body, jobs, TextForm(body.logprobs is not None), request)

    async def chat(self, body: ChatRequest, request: Request) -> Response:
        """Answer messages."""
        _check([*body.faults(), *self._no_stops(body)])
        # In a thread: the template and a long text would hold up all other requests.
        prompt = await asyncio.to_thread(self.chat_prompt, body)
        jobs = [chat_job(body, prompt, request.state.request_id, self._config.chat_overflow)]
        return await self._answer(body, jobs, ChatForm(body.logprobs), request)

    async def models(self) -> dict[str, Any]:
        """The one model that is served."""
        return {"object": "list", "data": [self._card()]}

    async def one_model(self, name: str) -> dict[str, Any]:
        """The same, by its name."""
        if name != self._model:
            raise HTTPException(404, f"the model served is {self._model!r}, there is no {name!r}")
        return self._card()

    def chat_prompt(self, body: ChatRequest) -> tuple[int, ...]:
        """The ids that the messages are, as transformers' ``apply_chat_template`` gives them.

        Raises:
            HTTPException: the model has no template, or it makes no prompt of these messages.
        """
        try:
            prompt = encodable(self._template.render(body.chat(), **body.ending()))
        except ValueError as error:
            raise HTTPException(422, [fault("messages", str(error), "chat_template")]) from None
        made = self._text.encode_prompt(prompt, parse_special=True)
        if not made.ids[made.lead :]:
            raise HTTPException(422, [fault("messages", "make an empty prompt", "chat_template")])
        return made.ids[made.lead :]  # a BOS is the template's to write

    def _card(self) -> dict[str, Any]:
        return {
            "id": self._model,
            "object": "model",
            "created": self._started,
            "owned_by": "oneday",
            "max_model_len": self._asker.context or None,  # as vLLM: null until it is known
        }

    def _unknown(self, prompts: list[Prompt]) -> list[Fault]:
        """The first id of each prompt that is in no vocabulary."""
        return [
            fault("prompt", f"{place}: id {ids[wrong[0]]} is not in the vocabulary", "token")
            for place, ids in enumerate(prompts)
            if isinstance(ids, tuple) and (wrong := self._text.unknown_ids(ids))
        ]

    def _no_stops(self, body: Sampling) -> list[Fault]:
        """The ``stop_token_ids`` that are in no vocabulary."""
        ids = body.stop_token_ids
        wrong = self._text.unknown_ids(ids)[:1]
        said = "is not in the vocabulary"
        return [fault("stop_token_ids", f"id {ids[place]} {said}", "token") for place in wrong]

    async def _answer(
        self, body: Sampling, jobs: list[Job], form: Form, request: Request
    ) -> Response:
        envelope = Envelope(form, request.state.request_id, int(time.time()), self._model)
        if body.stream:
            stream = Stream(envelope, body.stream_options.include_usage)
            events = self._events(stream, jobs, request)
            first = await anext(events)  # what fails before this has a status of its own
            told = self._told(body, jobs)
            return StreamingResponse(_rest(first, events), 200, told, "text/event-stream")
        content = envelope.whole(await self._asker.complete(jobs, request))
        data = json.dumps(content, allow_nan=False).encode()
        return Response(data, 200, self._told(body, jobs), "application/json")

    def _told(self, body: Sampling, jobs: list[Job]) -> dict[str, str]:
        """Headers of an answer that is not quite what was asked for. The worker has loaded."""
        ids, limit = jobs[0].ids or (), body.limit
        room = self._asker.context - len(ids)
        shorter = jobs[0].shortens and limit is not None and limit > room
        return header(body.ignored) | ({SHORTENED: str(room)} if shorter else {})

    async def _events(
        self, stream: Stream, jobs: list[Job], request: Request
    ) -> AsyncGenerator[bytes, None]:
        async for texts, answers in self._asker.follow(jobs, request):
            made = stream.grown(texts) if answers is None else stream.ended(answers)
            if events := b"".join(made):
                yield events


async def _rest(first: bytes, events: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """The events from the first on; a failure becomes the last one."""
    yield first
    try:
        async for event in events:
            yield event
    except HTTPException as error:
        yield broken(as_openai(error.status_code, error.detail)[1])


def completion_jobs(body: CompletionRequest, request_id: str) -> list[Job]:
    """What the worker is asked for /v1/completions: a job a prompt."""
    asked = _common(body) | {
        "max_new_tokens": body.limit,
        "echo_prompt": body.echo,
        "top_k_per_token": body.logprobs or 0,
    }
    # Scores, and an echoed prompt, are there when all is: such a stream has one part.
    streams = body.stream and not body.echo and body.logprobs is None
    scores = "echo" if body.echo and body.logprobs is not None else None
    more = _more(body, "prompt") | {"parse_special": body.parse_special, "scores": scores}
    return [
        _job(prompt, asked, request_id, streams and body.best_of in (None, body.n), **more)
        for prompt in body.prompt
    ]


def chat_job(
    body: ChatRequest, prompt: tuple[int, ...], request_id: str, overflow: str = "error"
) -> Job:
    """What the worker is asked for /v1/chat/completions; ``overflow`` is ``chat_overflow``."""
    asked = _common(body) | {
        "max_new_tokens": body.limit or 1,  # without a limit ``fills`` decides
        "top_k_per_token": body.top_logprobs,
    }
    streams = body.stream and not body.logprobs and body.best_of in (None, body.n)
    more = _more(body, "messages") | {"fills": body.limit is None}
    return _job(prompt, asked, request_id, streams, shortens=overflow == "shorten", **more)


def _more(body: Sampling, prompt: str) -> dict[str, Any]:
    """The job's fields that /process has not; ``prompt`` is the field that has the prompt."""
    return {
        "fields": Fields(prompt, body.limit_name),
        "best_of": body.best_of or body.n,
        "ends": tuple(body.stop_token_ids),
        "ignore_eos": body.ignore_eos,
        "min_tokens": body.min_tokens,
        "schema": body.response_format,
    }


def _common(body: Sampling) -> dict[str, Any]:
    """The fields that both have, in the contract's words."""
    return {
        "num_samples": body.n,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "top_k": body.top_k,
        "seed": body.seed,
        "stop_sequences": body.stop,
    }


def _job(prompt: Prompt, asked: dict[str, Any], request_id: str, streams: bool, **more: Any) -> Job:
    text, ids = (prompt, None) if isinstance(prompt, str) else ("", prompt)
    body = ProcessRequest(prompt=text, **asked)
    job_id, now = uuid.uuid4().hex, time.monotonic()
    return Job(job_id, body, now, request_id, ids=ids, streams=streams, **more)


def _check(faults: list[Fault]) -> None:
    """Refuses a request that has faults, with all of them."""
    if faults:
        raise HTTPException(422, faults)
