"""What is read of OpenAI's requests, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve.openai_fields import IGNORED, REFUSED, header
from serve.openai_requests import MOST, ChatRequest, CompletionRequest


def completion(**fields: Any) -> CompletionRequest:
    return CompletionRequest.model_validate({"prompt": "x"} | fields)


def chat(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"messages": [{"role": "user", "content": "x"}]} | fields)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("one", ["one"]),
        ("", [""]),
        (["one", "two"], ["one", "two"]),
        ([5, 6], [(5, 6)]),
        ([[5, 6], [7]], [(5, 6), (7,)]),
        (["one", [7]], ["one", (7,)]),
    ],
)
def test_each_shape_of_a_prompt(given: Any, read: Any) -> None:
    assert completion(prompt=given).prompt == read


@pytest.mark.parametrize(
    "given", [None, 5, [], [[]], [5, "x"], [[5, 1.5]], [True], {"a": 1}, ["\ud800"], "\ud800"]
)
def test_no_prompt(given: Any) -> None:
    with pytest.raises(ValidationError):
        completion(prompt=given)


@given(st.lists(st.lists(st.integers(), min_size=1), min_size=1))
def test_ids_come_through_as_they_are(ids: list[list[int]]) -> None:
    assert completion(prompt=ids).prompt == [tuple(one) for one in ids]


def test_null_is_the_default_and_one_stop_may_be_bare() -> None:
    nulls = dict.fromkeys(["n", "temperature", "stop", "seed", "stream", "logprobs", "best_of"])
    body = completion(**nulls)
    assert (body.n, body.temperature, body.max_tokens, body.stop) == (1, 1.0, 16, [])
    assert body.logprobs is None and not body.stream and not body.faults()
    assert completion(stop="\n").stop == ["\n"] == completion(stop=["\n"]).stop


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 0},
        {"n": MOST + 1},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 1.5},
        {"seed": 2**64},
        {"max_tokens": -1},
        {"logprobs": -1},
        {"best_of": MOST + 1},
        {"stop_token_ids": [-1]},
        {"min_tokens": -1},
        {"stop": [""]},
        {"stop": ["\ud800"]},
        {"response_format": {"type": "xml"}},
    ],
    ids=str,
)
def test_values_out_of_range(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        completion(**fields)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("suffix", "end"),
        ("logit_bias", {"50256": -100}),
        ("presence_penalty", 0.5),
        ("tools", [{"type": "function"}]),
    ],
)
def test_what_would_change_the_answer_is_refused(field: str, value: Any) -> None:
    [fault] = completion(**{field: value}).faults()
    assert fault["loc"] == ["body", field] and "not offered" in fault["msg"]
    [fault] = chat(**{field: value}).faults()
    assert fault["loc"] == ["body", field]


def test_what_changes_nothing_is_taken() -> None:
    neutral = {
        "best_of": 2,
        "n": 2,
        "suffix": "",
        "presence_penalty": 0.0,
        "frequency_penalty": 0,
        "response_format": {"type": "text"},
        "tools": [],
        "user": "me",
    }
    assert not completion(**neutral).faults() and not chat(**neutral).faults()


@pytest.mark.parametrize("field", sorted(REFUSED))
def test_each_refused_field_is_named_with_what_changes_nothing(field: str) -> None:
    for body in (completion(**{field: "no such value"}), chat(**{field: "no such value"})):
        [fault] = body.faults()
        assert fault["loc"] == ["body", field] and "not offered here" in fault["msg"]
        assert not body.ignored
        for value in REFUSED[field]:
            assert repr(REFUSED[field][0]) in fault["msg"] or "; say " in fault["msg"]
            assert not completion(**{field: value}).faults()


def test_fields_of_other_names_are_pointed_to_ours() -> None:
    [fault] = completion(max_new_tokens=5).faults()
    assert fault["msg"].endswith("say max_tokens")
    [fault] = chat(min_new_tokens=5).faults()
    assert fault["msg"].endswith("say min_tokens")


def test_unknown_fields_are_named() -> None:
    body = completion(tempratur=0, user="me", suffix="", metadata={"a": 1}, top_kk=3)
    assert body.ignored == ["tempratur", "top_kk"] and not body.faults()
    assert header(body.ignored) == {IGNORED: "tempratur, top_kk"}
    assert chat(user="me").ignored == [] and header([]) == {}


def test_a_header_holds_any_names_and_not_too_many() -> None:
    odd = header(["é\r\nSet-Cookie: a", "\ud800", "x" * 500, *map(str, range(30))])[IGNORED]
    assert odd.isascii() and odd.isprintable() and odd.endswith("and 13 more") and len(odd) < 500


def test_best_of() -> None:
    assert not completion(best_of=5).faults() and not completion(best_of=2, n=2).faults()
    [fault] = completion(best_of=2, n=3).faults()
    assert fault["loc"] == ["body", "best_of"] and "at least n, which is 3" in fault["msg"]
    [fault] = completion(prompt=["a", "b"], best_of=MOST).faults()
    assert f"best_of = {MOST} are {2 * MOST} completions" in fault["msg"]


def test_limits_by_either_name() -> None:
    assert completion(max_completion_tokens=3).limit == 3
    assert completion(max_completion_tokens=0, max_tokens=9).limit == 0
    assert completion().limit == 16 and completion().limit_name is None
    assert chat(max_completion_tokens=3).limit_name == "max_completion_tokens"
    [fault] = completion(min_tokens=4, max_completion_tokens=3).faults()
    assert fault["loc"] == ["body", "min_tokens"] and "max_completion_tokens" in fault["msg"]


def test_logprobs_of_a_completion_as_chat_clients_say_it() -> None:
    assert completion(logprobs=False).logprobs is None
    assert completion(logprobs=True).logprobs == 0
    assert completion(logprobs=1).logprobs == 1 and completion(logprobs=0).logprobs == 0


def test_how_a_chat_ends() -> None:
    both = chat(add_generation_prompt=True, continue_final_message=True).faults()
    assert [fault["loc"][1] for fault in both] == ["add_generation_prompt"]
    assert not chat(add_generation_prompt=False, continue_final_message=True).faults()
    [fault] = chat(chat_template_kwargs={"messages": []}).faults()
    assert fault["loc"] == ["body", "chat_template_kwargs"] and "messages" in fault["msg"]
    thinking = chat(chat_template_kwargs={"enable_thinking": False})
    assert not thinking.faults() and thinking.ending()["enable_thinking"] is False


def test_a_body_on_the_wrong_route_is_sent_to_the_right_one() -> None:
    with pytest.raises(ValidationError, match="messages is for /v1/chat/completions"):
        CompletionRequest.model_validate({"messages": [{"role": "user", "content": "x"}]})
    with pytest.raises(ValidationError, match="prompt is for /v1/completions"):
        ChatRequest.model_validate({"prompt": "x"})


def test_all_faults_at_once() -> None:
    found = completion(prompt=["a", "b"], n=MOST, best_of=MOST - 1, suffix="x").faults()
    assert {fault["loc"][1] for fault in found} == {"prompt", "best_of", "suffix"}
    [many] = [fault for fault in found if fault["loc"][1] == "prompt"]
    assert f"{2 * (MOST - 1)} completions" in many["msg"]


def test_chat_limits_and_contents() -> None:
    assert chat().limit is None
    assert chat(max_tokens=5).limit == 5
    assert chat(max_tokens=5, max_completion_tokens=7).limit == 7
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [
        {"role": "system", "content": parts},
        {"role": "user", "content": "c", "name": "me"},
    ]
    assert chat(messages=messages).chat() == [
        {"role": "system", "content": "ab"},
        {"role": "user", "content": "c", "name": "me"},
    ]
    [fault] = chat(top_logprobs=3).faults()
    assert fault["loc"] == ["body", "top_logprobs"]


def test_pictures_and_no_messages_are_refused() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(ValidationError, match="only text"):
        chat(messages=[{"role": "user", "content": [picture]}])
    with pytest.raises(ValidationError):
        chat(messages=[])
