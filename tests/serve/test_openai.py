"""From OpenAI's requests to the engine: the same ids by every way, and what the worker tells."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException
from transformers import PreTrainedTokenizerFast

from serve.config import Rule, ServeConfig
from serve.contract import ProcessRequest
from serve.engine import build_engine
from serve.engine.base import Engine, GenResult, GenToken
from serve.openai import Endpoints, chat_job, completion_jobs
from serve.openai_requests import ChatRequest, CompletionRequest
from serve.text import TextCodec
from serve.worker import Job, Peek, Worker
from tests.serve.conftest import byte_level_tokenizer, save_model
from tests.serve.test_worker import FakeEngine, worker
from tests.tools.data.test_tokens import llama, mistral
from tools.data import tokens
from tools.data.render import pair, row
from tools.data.skills import SKILLS
from tools.evaluate.lm_eval import adds_bos

KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte_level": byte_level_tokenizer,
    "mistral": mistral,
    "llama": llama,
}
DONE = GenResult((GenToken(1, "x", -1.0, ()),), "length")


def completion(**fields: Any) -> list[Job]:
    body = CompletionRequest.model_validate(
        {"prompt": "The capital", "temperature": 0, "max_tokens": 3} | fields
    )
    assert not body.faults()
    return completion_jobs(body, "r")


def ask(built: Worker, *jobs: Job) -> list[dict[str, Any]]:
    async def all_of_them() -> list[Any]:
        return [await built.predict(job) for job in jobs]

    return [json.loads(response.body) for response in asyncio.run(all_of_them())]


@pytest.fixture(params=sorted(KINDS))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tokenizer's folder."""
    KINDS[request.param]().save_pretrained(tmp_path)
    return tmp_path


def test_the_same_ids_in_training_helm_and_lm_eval(folder: Path) -> None:
    """The prompt of a training row, asked in each of the four ways, is what the row begins with."""
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    codec, rng = TextCodec.load(folder), random.Random(0)
    fake = FakeEngine(codec, DONE)
    fake.info = replace(fake.info, context=4096)
    harness = LocalCompletionsAPI(
        base_url="http://127.0.0.1:1/v1/completions",
        model="tiny",
        tokenizer=str(folder),
        tokenizer_backend="huggingface",
        add_bos_token=adds_bos(folder),
    )
    for skill in SKILLS:
        block = [pair(skill, SKILLS[skill](rng)) for _ in range(2)]
        prompt = block[0].prompt + block[0].completion + "\n\n" + block[1].prompt
        trained = tokens.encode(codec, row(block)["segments"])["input_ids"]
        [sent] = harness.tok_encode([prompt])
        helm = Job("h", ProcessRequest(prompt=prompt), time.monotonic(), "h")
        text, ids = completion(prompt=prompt) + completion(prompt=[sent])
        fake.requests.clear()
        ask(worker(fake), helm, text, ids)
        for request in fake.requests:
            assert list(request.prompt) == trained[: len(request.prompt)]
        assert len({request.prompt for request in fake.requests}) == 1
        assert len(fake.requests) == 3 and len(sent) > 20


def test_fields_reach_the_engine(codecs: dict[str, TextCodec]) -> None:
    fake = FakeEngine(codecs["byte_level"], DONE)
    fields = {"temperature": 0.5, "top_p": 0.9, "top_k": 4, "seed": 3, "stop": "\n", "n": 2}
    ask(worker(fake), *completion(prompt=["a", [9, 8]], max_tokens=5, logprobs=4, **fields))
    assert len(fake.requests) == 4
    for request in fake.requests:
        assert (request.temperature, request.top_p, request.top_k) == (0.5, 0.9, 4)
        assert (request.stops, request.max_new_tokens, request.candidates) == (("\n",), 5, 4)
        assert not request.echo and request.enough is None
    assert [request.seed for request in fake.requests] == [3, 4, 3, 4]
    assert fake.requests[2].prompt == (9, 8) and fake.requests[2].lead == 0


def test_what_ends_an_answer_reaches_the_engine(codecs: dict[str, TextCodec]) -> None:
    fake = FakeEngine(codecs["byte_level"], DONE)
    asked = {"ignore_eos": True, "min_tokens": 2, "stop_token_ids": [7], "max_completion_tokens": 4}
    ask(worker(fake), *completion(**asked))
    [request] = fake.requests
    assert (request.ignore_eos, request.min_tokens, request.ends) == (True, 2, (7,))
    assert request.max_new_tokens == 4


def test_best_of_gives_the_likeliest_tokens(engine: Engine) -> None:
    built = worker(engine)
    asked: dict[str, Any] = {"temperature": 1.0, "seed": 3, "max_tokens": 4, "logprobs": 0}
    [every] = ask(built, *completion(n=6, **asked))
    means = [one["logprob"] / len(one["tokens"]) for one in every["completions"]]
    order = sorted(range(6), key=lambda place: -means[place])
    assert order[0] != 0, "the first is not the best, or this test shows nothing"
    [two] = ask(built, *completion(n=2, best_of=6, **asked))
    wanted = [every["completions"][place]["text"] for place in order[:2]]
    assert [one["text"] for one in two["completions"]] == wanted
    [one] = ask(built, *completion(best_of=6, **asked))
    assert one["text"] == wanted[0] and len(one["new_tokens"]) == 1


def test_best_of_at_temperature_0_is_the_one_there_is(codecs: dict[str, TextCodec]) -> None:
    """As HELM's client of OpenAI's asks for every multiple choice."""
    fake = FakeEngine(codecs["byte_level"], DONE)
    [made] = ask(worker(fake), *completion(best_of=5, logprobs=5))
    assert made["text"] == "x" and len(fake.requests) == 1


def test_special_tokens_in_a_prompt_by_request(codecs: dict[str, TextCodec]) -> None:
    """A chat rendered by the client is read as one, whatever the server's setting."""
    codec = codecs["byte_level"]
    text = "x<|im_end|>"
    for setting in (False, True):
        fake = FakeEngine(codec, DONE)
        jobs = [
            *completion(prompt=text),
            *completion(prompt=text, parse_special=True),
            *completion(prompt=text, parse_special=False),
        ]
        ask(worker(fake, parse_special=setting), *jobs)
        ends = [request.prompt[-1] == codec.eos_id for request in fake.requests]
        assert ends == [setting, True, False]


def test_a_chat_that_asks_for_too_much(codecs: dict[str, TextCodec]) -> None:
    fake = FakeEngine(codecs["byte_level"], DONE)
    body = ChatRequest.model_validate(
        {"messages": [{"role": "user", "content": "x"}], "max_completion_tokens": 99}
    )
    with pytest.raises(HTTPException) as caught:
        ask(worker(fake), chat_job(body, (5, 6, 7), "r"))
    detail: Any = caught.value.detail
    assert detail[0]["loc"] == ["body", "messages"]
    assert detail[0]["msg"] == (
        "This model's maximum context length is 16 tokens. However, you requested 102 tokens (3 in"
        " the messages, 99 in the completion). Please reduce the length of the messages or"
        " max_completion_tokens."
    )
    ask(worker(fake), chat_job(body, (5, 6, 7), "r", "shorten"))
    assert fake.requests[-1].max_new_tokens == 13


@pytest.mark.parametrize(("overflow", "told"), [("shorten", "13"), ("error", None)])
def test_a_shortened_chat_says_how_many_tokens_there_was_room_for(
    overflow: str, told: str | None, codecs: dict[str, TextCodec]
) -> None:
    asker: Any = SimpleNamespace(context=16)
    template: Any = None
    endpoints = Endpoints(asker, codecs["byte_level"], template, "model")
    message = {"role": "user", "content": "x"}
    for limit, wanted in ((99, told), (13, None)):
        body = ChatRequest.model_validate({"messages": [message], "max_tokens": limit})
        job = chat_job(body, (5, 6, 7), "r", overflow)
        assert endpoints._told(body, [job]).get("X-Shortened-Max-Tokens") == wanted


def test_a_chat_fills_the_context(codecs: dict[str, TextCodec]) -> None:
    fake = FakeEngine(codecs["byte_level"], DONE)
    messages = {"messages": [{"role": "user", "content": "x"}]}
    whole = ChatRequest.model_validate(messages)
    few = ChatRequest.model_validate(messages | {"max_tokens": 2, "logprobs": True})
    ask(worker(fake), chat_job(whole, (5, 6, 7), "r"), chat_job(few, (5, 6, 7), "r"))
    assert [request.max_new_tokens for request in fake.requests] == [fake.info.context - 3, 2]
    assert [request.prompt for request in fake.requests] == [(5, 6, 7)] * 2


@pytest.mark.parametrize("prompt", ["x " * 40, [5] * 17])
def test_what_does_not_fit_is_refused_not_cut(codecs: dict[str, TextCodec], prompt: Any) -> None:
    fake = FakeEngine(codecs["byte_level"], DONE)
    built = worker(fake, overflow="truncate_left")
    with pytest.raises(HTTPException) as caught:
        ask(built, *completion(prompt=prompt if isinstance(prompt, str) else [prompt]))
    assert caught.value.status_code == 422
    assert caught.value.detail[0]["type"] == "context_overflow"  # type: ignore[index]
    assert not fake.requests


RULES = {"all": Rule(wrap="### {prompt}", extract="([A-J])")}


@pytest.mark.parametrize(
    ("fields", "ruled"),
    [
        ({"prompt": "1+1?"}, True),
        ({"prompt": "1+1?", "echo": True}, False),
        ({"prompt": "1+1?", "max_tokens": 0}, False),
        ({"prompt": [5, 6]}, False),
    ],
    ids=str,
)
def test_rules_meet_texts_to_be_continued_only(
    codecs: dict[str, TextCodec], fields: dict[str, Any], ruled: bool
) -> None:
    codec = codecs["byte_level"]
    answer = GenResult((GenToken(1, "it is B.", -1.0, ()),), "length")
    fake = FakeEngine(codec, answer)
    [content] = ask(worker(fake, rules=RULES), *completion(**({"max_tokens": 2} | fields)))
    assert (content["text"] == "B") == ruled
    assert codec.decode(fake.requests[0].prompt).startswith("### ") == ruled


def test_details_of_the_answer(codecs: dict[str, TextCodec]) -> None:
    end = GenToken(2, "</s>", -0.5, (("x", -0.1),))
    outcome = GenResult((GenToken(1, "x", -1.0, ()),), "eos", end=end)
    [content] = ask(worker(FakeEngine(codecs["prepend"], outcome)), *completion(prompt=[[1, 9]]))
    assert (content["prompt_tokens"], content["new_tokens"]) == (2, [1])
    [ending] = content["ends"]
    assert ending == {"text": "</s>", "name": "</s>", "logprob": -0.5, "top_logprob": {"x": -0.1}}


@pytest.fixture(scope="module", params=["transformers", "reference", "hf-dynamic"])
def ending(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An engine whose model ends every answer at once: each token ends it."""
    folder = save_model(
        tmp_path_factory.mktemp("ending"), byte_level_tokenizer(), eos_token_id=list(range(430))
    )
    config = folder / "generation_config.json"
    settings = json.loads(config.read_text()) if config.is_file() else {}
    config.write_text(json.dumps(settings | {"eos_token_id": list(range(430))}))
    built = build_engine(folder, ServeConfig(context=64, engine=request.param), "cpu")
    yield built
    built.close()


def test_the_token_that_ended_an_answer_is_scored(ending: Engine) -> None:
    """Without it lm-eval would take the last token of the prompt for the one it is to cut off."""
    [content] = ask(
        worker(ending), *completion(prompt=[[5, 6, 7]], max_tokens=1, echo=True, logprobs=1)
    )
    assert content["finish_reason"] == "eos" and len(content["tokens"]) == 3
    [end] = content["ends"]
    assert end["logprob"] == max(end["top_logprob"].values()) < 0


def test_texts_grow_while_they_are_looked_at(engine: Engine) -> None:
    built = worker(engine)
    [job] = completion(stream=True, max_tokens=200, n=2, temperature=1.0, seed=1)
    assert job.streams

    async def look() -> tuple[list[list[str]], dict[str, Any]]:
        answer = asyncio.ensure_future(built.predict(job))
        seen: list[list[str]] = []
        while not answer.done():
            await asyncio.sleep(0.002)
            reply = await built.predict(Peek(job.id))
            assert reply is not None
            seen.append(json.loads(bytes(reply.body))["texts"])
        response = answer.result()
        assert response is not None
        return seen, json.loads(bytes(response.body))

    seen, content = asyncio.run(look())
    finals = [one["text"] for one in content["completions"]]
    parts = {texts[0] for texts in seen if texts}
    assert len(parts) > 2, "the text did not grow"
    for texts in seen:
        assert all(final.startswith(text) for final, text in zip(finals, texts, strict=False))
    last = asyncio.run(built.predict(Peek(job.id)))
    assert last is not None and json.loads(bytes(last.body)) == {"texts": []}


@pytest.mark.parametrize(
    ("fields", "streams"),
    [({}, True), ({"echo": True}, False), ({"logprobs": 0}, False), ({"stream": False}, False)],
)
def test_what_comes_in_one_part(fields: dict[str, Any], streams: bool) -> None:
    [job] = completion(**({"stream": True} | fields))
    assert job.streams == streams


def test_a_rule_s_answer_is_not_shown_before_it_is_made(codecs: dict[str, TextCodec]) -> None:
    fake = FakeEngine(codecs["byte_level"], DONE)
    ask(worker(fake, rules={"all": Rule(cut=["\n"])}), *completion(stream=True))
    enough = fake.requests[0].enough
    assert enough and enough("a\nb"), "it is the rule's own"
