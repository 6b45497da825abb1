"""``response_format``: its forms, its bounds, its refusals, and OpenAI's own client."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fastapi import HTTPException

from serve.config import Match, Rule
from serve.engine.base import Engine
from serve.response_format import DEEPEST, MOST, as_schema
from tests.serve.conftest import RunningServer
from tests.serve.test_openai import DONE, ask, completion
from tests.serve.test_worker import FakeEngine, worker

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "old": {"type": "boolean"}},
    "required": ["name", "old"],
    "additionalProperties": False,
}
FORM: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
LIBRARY = "llguidance is not installed (requirements/train.txt)"


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth - 1):
        schema = {"items": schema}
    return schema


def test_forms() -> None:
    assert as_schema({"type": "text"}) is None
    assert as_schema({"type": "json_object"}) == '{"type": "object"}'
    assert as_schema({"type": "json_object", "schema": PERSON}) == json.dumps(PERSON)
    assert as_schema(FORM) == json.dumps(PERSON)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("json", "must be"),
        ({}, "must be"),
        ({"type": "json_schema"}, "must be"),
        ({"type": "json_object", "schema": True}, "must have a schema that is an object"),
        ({"type": "json_object", "schema": nested(DEEPEST + 1)}, "deeper than"),
        ({"type": "json_object", "schema": {"const": "x" * MOST}}, "characters"),
        ({"type": "json_object", "schema": {"const": float("nan")}}, "JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_other_forms_are_refused(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        as_schema(value)


def test_a_deep_one_is_taken_and_a_bottomless_one_told() -> None:
    assert as_schema({"type": "json_object", "schema": nested(DEEPEST)})
    with pytest.raises(ValueError, match="deeper"):
        as_schema({"type": "json_object", "schema": nested(100_000)})


def test_an_engine_that_cannot_says_so(codecs: dict[str, Any]) -> None:
    built = worker(FakeEngine(codecs["byte_level"], DONE))
    with pytest.raises(HTTPException) as refused:
        ask(built, *completion(response_format=FORM))
    assert refused.value.status_code == 422
    detail: Any = refused.value.detail
    [fault] = detail
    assert fault["loc"] == ["body", "response_format"] and "pip install llguidance" in fault["msg"]


def test_no_rule_meets_it(engine: Engine) -> None:
    pytest.importorskip("llguidance", reason=LIBRARY)
    rules = {"all": Rule(match=Match(), format="<{x}>", extract=r"(\S)")}
    built = worker(engine, rules=rules)
    [free] = ask(built, *completion(max_tokens=9))
    [formed] = ask(built, *completion(max_tokens=300, response_format=FORM))
    assert free["text"].startswith("<") and json.loads(formed["text"])["name"] is not None


def test_a_client_that_goes_leaves_the_schema_to_others(engine: Engine) -> None:
    pytest.importorskip("llguidance", reason=LIBRARY)
    from serve.response_format import compiled

    async def both() -> Any:
        schema = json.dumps({"const": "shared"})
        gone = asyncio.ensure_future(compiled(engine, schema))
        await asyncio.sleep(0)
        gone.cancel()
        return await compiled(engine, schema)

    assert asyncio.run(both())


@pytest.fixture(scope="module")
def server(
    model_dirs: dict[str, Path],
    start_server: Callable[..., RunningServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    pytest.importorskip("llguidance", reason=LIBRARY)
    folder = model_dirs["byte_level"]
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    with start_server(folder, tmp_path_factory.mktemp("form") / "log") as running:
        running.wait_ready(120)
        yield running
    (folder / "chat_template.jinja").unlink()


def test_openais_client_gets_what_it_asked_for(server: RunningServer) -> None:
    api = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    said: Any = [{"role": "user", "content": "Who?"}]
    whole: Any = api.chat.completions.create(
        model="any", messages=said, response_format=FORM, seed=1, n=2, logprobs=True, top_logprobs=2
    )
    for choice in whole.choices:
        assert choice.finish_reason == "stop"
        assert set(json.loads(choice.message.content)) == {"name", "old"}
    parts: Any = api.chat.completions.create(
        model="any", messages=said, response_format=FORM, temperature=0, stream=True
    )
    grown = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert set(json.loads(grown)) == {"name", "old"}
    best = api.completions.create(
        model="any", prompt="Who?", max_tokens=200, best_of=3, extra_body={"response_format": FORM}
    )
    assert set(json.loads(best.choices[0].text)) == {"name", "old"}


@pytest.mark.parametrize("stream", [False, True])
def test_openais_client_is_told_what_cannot_be(server: RunningServer, stream: bool) -> None:
    api = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "thing"}}}
    with pytest.raises(openai.BadRequestError, match="Invalid type: thing") as told:
        api.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": "Who?"}],
            response_format=form,
            stream=stream,
        )
    assert told.value.param == "response_format"
