"""Answers that follow a JSON schema: whatever the schema, the tokenizer and what runs beside."""

import itertools
import json
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.config import ServeConfig
from serve.engine import build_engine
from serve.engine.base import BadGrammar, Engine, EngineError, GenRequest, GenResult
from serve.engine.grammar import KEPT, Grammar, Grammars
from serve.text import TextCodec

pytest.importorskip("llguidance", reason="llguidance is not installed (requirements/train.txt)")

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "old": {"type": "boolean"}},
    "required": ["name", "old"],
    "additionalProperties": False,
}
DIGIT = {"enum": [7]}
NAMES = itertools.count()


@pytest.fixture(scope="module", params=["byte_level", "prepend", "metaspace", "endless"])
def any_engine(request: pytest.FixtureRequest, model_dirs: dict[str, Path]) -> Iterator[Engine]:
    """The batching engine on each kind of tokenizer, and on a model without EOS."""
    built = build_engine(model_dirs[request.param], ServeConfig(context=512), "cpu")
    yield built
    built.close()


def grammar(engine: Engine, schema: Any) -> Grammar:
    assert engine.grammars
    made = engine.grammars.submit(json.dumps(schema)).result(60)
    assert isinstance(made, Grammar), made
    return made


def ask(engine: Engine, schema: Any, **fields: Any) -> Future[GenResult]:
    asked: dict[str, Any] = {"prompt": (10, 11), "max_new_tokens": 200, "temperature": 1.0} | fields
    form = None if schema is None else grammar(engine, schema)
    return engine.submit(GenRequest(str(next(NAMES)), grammar=form, **asked))


def text(result: GenResult) -> str:
    return "".join(token.text for token in result.tokens)


def valid(result: GenResult, schema: Any) -> None:
    """Holds a result that came to its own end against its schema."""
    assert result.finish_reason == "eos", text(result)
    jsonschema.validate(json.loads(text(result)), schema)


SCALARS = st.sampled_from(
    [
        {"type": "integer", "minimum": -5, "maximum": 120},
        {"type": "string", "maxLength": 3},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["é 東", 2, None, " a"]},
        {"const": {"a": ["b"]}},
        {"type": "string", "pattern": "^[a-z]{2}-[0-9]$"},
    ]
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.builds(lambda one: {"type": "array", "items": one, "maxItems": 2}, inner)
    unions = st.builds(lambda *some: {"anyOf": [*some]}, inner, inner)
    named = st.dictionaries(st.text('ab "é', max_size=3), inner, max_size=3)
    objects = st.builds(
        lambda fields: {
            "type": "object",
            "properties": fields,
            "required": [*fields][:2],
            "additionalProperties": False,
        },
        named,
    )
    return lists | unions | objects


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(schema=st.recursive(SCALARS, containers, max_leaves=4), seed=st.integers(0, 99))
def test_answers_follow_any_schema(any_engine: Engine, schema: Any, seed: int) -> None:
    made = [
        ask(any_engine, schema, seed=seed, temperature=heat).result(60) for heat in (0.0, 1.0, 3.0)
    ]
    for result in made:
        if result.finish_reason != "length":
            valid(result, schema)
    assert "eos" in {result.finish_reason for result in made}


def test_beside_others_each_gets_its_own(engine: Engine) -> None:
    alone = text(ask(engine, None, temperature=0.0).result(60))
    form = text(ask(engine, PERSON, temperature=0.0).result(60))
    futures = [
        (schema, ask(engine, schema, temperature=0.0 if seed < 2 else 1.0, seed=seed))
        for schema in (PERSON, None, DIGIT)
        for seed in range(3)
    ]
    for schema, future in futures:
        if schema:
            valid(future.result(60), schema)
    free = [future.result(60) for schema, future in futures if schema is None]
    assert text(free[0]) == alone and text(futures[0][1].result(60)) == form


def test_one_by_one_as_together(model_dirs: dict[str, Path], engine: Engine) -> None:
    config = ServeConfig(engine="hf-dynamic", context=512)
    single = build_engine(model_dirs["byte_level"], config, "cpu")
    made = [ask(each, PERSON, temperature=0.0).result(60) for each in (engine, single)]
    single.close()
    assert text(made[0]) == text(made[1])
    valid(made[0], PERSON)


def test_scores_are_of_what_is_allowed(engine: Engine) -> None:
    """A token without a choice is certain, and what is shut has no chance."""
    result = ask(engine, {"enum": [7, 8]}, candidates=3).result(60)
    [(_, first), (_, second), (_, shut)] = result.tokens[0].candidates
    assert {name for name, _ in result.tokens[0].candidates[:2]} == {"7", "8"}
    assert first > second > shut == -9999.0
    [only] = ask(engine, DIGIT, candidates=1).result(60).tokens
    assert only.logprob == pytest.approx(0, abs=1e-5)


def test_the_length_ends_it_in_the_middle(engine: Engine) -> None:
    result = ask(engine, PERSON, max_new_tokens=3).result(60)
    assert result.finish_reason == "length" and len(result.tokens) == 3
    assert text(result).startswith("{")


def test_whole_at_its_last_token_is_whole(engine: Engine) -> None:
    assert ask(engine, DIGIT, max_new_tokens=1).result(60).finish_reason == "eos"


def test_stops_and_other_ends(engine: Engine) -> None:
    stopped = ask(engine, PERSON, stops=(":",)).result(60)
    assert stopped.finish_reason == "stop" and text(stopped).rstrip().endswith('"name"')
    # A number may go on: only what ends an answer ends it, and not before its time.
    [seven] = engine.text.encode("7")
    long = ask(engine, {"type": "integer"}, min_tokens=9, ends=(5, 300), temperature=0.0)
    assert len(long.result(60).tokens) >= 9
    # One that asks to stop at the only token there is has stopped there.
    ended = ask(engine, DIGIT, min_tokens=9, ends=(seven,), ignore_eos=True).result(60)
    assert (text(ended), ended.end and ended.end.id) == ("", seven)


def test_eos_ends_a_number_where_it_is_whole(engine: Engine) -> None:
    ends = [ask(engine, {"type": "integer"}, seed=seed).result(60) for seed in range(8)]
    closed = [result for result in ends if result.end]
    assert closed and all(json.loads(text(result)) is not None for result in closed)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "thing"}, "Invalid type"),
        ({"uniqueItems": True, "type": "array"}, "uniqueItems"),
        ({"$ref": "http://127.0.0.1:9/x"}, "does not fetch"),
        ({"type": "string", "pattern": "("}, "unclosed group"),
    ],
    ids=str,
)
def test_what_cannot_be_followed_is_told(engine: Engine, schema: Any, words: str) -> None:
    assert engine.grammars
    assert words in str(engine.grammars.submit(json.dumps(schema)).result(60))


def test_a_step_that_is_too_much_ends_its_own_request(engine: Engine) -> None:
    wide = {"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(900)}}
    beside = ask(engine, PERSON, temperature=0.0)
    with pytest.raises(BadGrammar, match="cannot be followed"):
        ask(engine, wide, seed=1).result(60)
    valid(beside.result(60), PERSON)


def test_a_vocabulary_without_json_is_told(codecs: dict[str, TextCodec], engine: Engine) -> None:
    grammars = Grammars(codecs["byte_level"], 5)  # four ids, none of them a digit
    made = grammars.submit(json.dumps(DIGIT)).result(60)
    assert isinstance(made, Grammar)
    with pytest.raises(EngineError, match=r"cannot be followed: \w+$"):
        engine.submit(GenRequest("few", (10,), grammar=made)).result(60)


def test_compiled_once_and_not_kept_for_ever(engine: Engine) -> None:
    grammars = engine.grammars
    assert grammars
    first = grammars.submit('{"const": "first"}')
    assert grammars.submit('{"const": "first"}') is first
    for number in range(KEPT):
        grammars.submit(json.dumps({"const": number})).result(60)
    assert grammars.submit('{"const": "first"}') is not first


def test_without_the_library_there_are_none(
    codecs: dict[str, TextCodec],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with caplog.at_level(logging.INFO):
        assert Grammars.load(codecs["byte_level"], 400) is None
    assert "not installed" in caplog.text
