"""The worker's answers in OpenAI's words."""

import itertools
import json
import math
from typing import Any

import pytest

from serve.openai_answers import (
    DONE,
    ChatForm,
    Envelope,
    Form,
    Made,
    Stream,
    TextForm,
    read,
    scores,
    usage,
)
from serve.openai_errors import as_openai


def token(text: str, logprob: float = -1.0, name: str = "", **best: float) -> dict[str, Any]:
    return {"text": text, "name": name or text, "logprob": logprob, "top_logprob": best}


def answer(*texts: str, echoed: int = 0, reason: str = "length", n: int = 1) -> dict[str, Any]:
    """A worker's answer whose first tokens are an echoed prompt's."""
    tokens = [token(text, a=-0.5) for text in texts]
    one = {"text": "".join(texts), "tokens": tokens, "logprob": -1.0, "finish_reason": reason}
    end = token("</s>", -0.25) if reason == "eos" else None
    details = {"prompt_tokens": 3, "new_tokens": [len(texts) - echoed], "ends": [end]}
    more = {"completions": [one] * n} if n > 1 else {}
    return one | {"request_time": 0.1, "truncated_tokens": 0} | more | details


PART = r"bytes:\xf0"


def envelope(form: Form) -> Envelope:
    return Envelope(form, "r", 7, "tiny")


def events(parts: Any) -> list[dict[str, Any]]:
    lines = b"".join(parts).split(b"\n\n")
    found = [line.removeprefix(b"data: ") for line in lines if line]
    return [json.loads(line) for line in found if line != b"[DONE]"]


def test_a_completion() -> None:
    content = envelope(TextForm(False)).whole([answer("a", "b", reason="eos")])
    assert content == {
        "id": "cmpl-r",
        "object": "text_completion",
        "created": 7,
        "model": "tiny",
        "choices": [{"index": 0, "text": "ab", "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def test_a_chat() -> None:
    content = envelope(ChatForm(True)).whole([answer("é", "", reason="stop")])
    [choice] = content["choices"]
    assert (content["id"], content["object"]) == ("chatcmpl-r", "chat.completion")
    assert choice["message"]["content"] == "é" and choice["finish_reason"] == "stop"
    first, second = choice["logprobs"]["content"]
    assert (first["token"], first["bytes"]) == ("é", [195, 169])
    assert first["top_logprobs"] == [{"token": "a", "logprob": -0.5, "bytes": [97]}]
    assert second["bytes"] == []


def test_choices_are_numbered_over_all_prompts() -> None:
    content = envelope(TextForm(False)).whole([answer("a", n=2), answer("b", n=2)])
    assert [(c["index"], c["text"]) for c in content["choices"]] == [
        (0, "a"), (1, "a"), (2, "b"), (3, "b"),
    ]  # fmt: skip
    assert content["usage"] == usage([answer("a", n=2), answer("b", n=2)])
    assert content["usage"]["completion_tokens"] == 4


def test_scores_have_a_place_for_every_token() -> None:
    """lm-eval cuts off the last one, whatever it is, and reads the others by their place."""
    [made] = read(answer("The", " cap", " x", echoed=2))
    assert scores(made) == {
        "tokens": ["The", " cap", " x"],
        "token_logprobs": [None, -1.0, -1.0],
        "top_logprobs": [None, {"a": -0.5, " cap": -1.0}, {"a": -0.5, " x": -1.0}],
        "text_offset": [0, 3, 7],
    }
    [ended] = read(answer("The", " cap", echoed=2, reason="eos"))
    found = scores(ended)
    assert found["tokens"][-1] == "</s>" and found["token_logprobs"] == [None, -1.0, -0.25]
    assert found["text_offset"] == [0, 3, 7]


def test_without_an_echo_all_have_scores() -> None:
    [made] = read(answer("a"))
    assert scores(made)["token_logprobs"] == [-1.0]
    assert scores(Made("", [], 0, None, "length"))["text_offset"] == []


def test_the_likeliest_is_not_listed_twice() -> None:
    made = Made("", [token("", -0.5, PART, **{PART: -0.5})], 1, None, "length")
    assert scores(made)["top_logprobs"] == [{PART: -0.5}]


def test_the_token_itself_is_listed_by_its_own_name() -> None:
    """However alike the texts and the scores are: a second part of a character is another."""
    made = Made("", [token("", -0.5, r"bytes:\x9f", **{PART: -0.5})], 1, None, "length")
    assert scores(made)["top_logprobs"] == [{PART: -0.5, r"bytes:\x9f": -0.5}]


def test_bytes_of_a_chat_s_tokens_join_to_its_text() -> None:
    tokens = [
        token("", name=r"bytes:\xc3", **{r"bytes:\xc3": -1.0, "<|im_end|>": -2.0}),
        token("é", name=r"bytes:\xa9"),
        token("", name="<|im_end|>"),
        token("The", name=" The"),
    ]
    made = Made("éThe", tokens, 4, None, "length")
    shown = ChatForm(True).choice(0, made)["logprobs"]["content"]
    assert bytes(itertools.chain.from_iterable(one["bytes"] for one in shown)).decode() == "éThe"
    names = [r"bytes:\xc3", r"bytes:\xa9", "<|im_end|>", "The"]
    assert [one["token"] for one in shown] == names
    best = [(one["token"], one["bytes"]) for one in shown[0]["top_logprobs"]]
    assert best == [(r"bytes:\xc3", [0xC3]), ("<|im_end|>", list(b"<|im_end|>"))]


def test_nothing_is_sent_twice() -> None:
    stream = Stream(envelope(TextForm(False)), False)
    parts = [events(stream.grown([text])) for text in ("", "a", "a", "ab")]
    parts.append(events(stream.ended([answer("a", "bc")])))
    texts = [[part["choices"][0]["text"] for part in some] for some in parts]
    assert texts == [[], ["a"], [], ["b"], ["c", ""]]


def test_a_chat_s_stream() -> None:
    stream = Stream(envelope(ChatForm(False)), True)
    parts = events(stream.grown(["Hel"])) + events(stream.grown(["Hello"]))
    last = list(stream.ended([answer("Hello")]))
    assert last[-1] == DONE
    parts += events(last)
    assert {part["object"] for part in parts} == {"chat.completion.chunk"}
    deltas = [part["choices"][0]["delta"] for part in parts if part["choices"]]
    assert deltas == [
        {"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {},
    ]  # fmt: skip
    assert parts[-2]["choices"][0]["finish_reason"] == "length"
    assert parts[-1]["usage"]["completion_tokens"] == 1 and parts[-1]["choices"] == []


def test_a_stream_that_shows_nothing_until_its_end() -> None:
    stream = Stream(envelope(TextForm(True)), False)
    assert not list(stream.grown(["", ""]))
    first, last = events(stream.ended([answer("a", "b")]))
    assert first["choices"][0]["text"] == "ab"
    assert last["choices"][0]["logprobs"]["tokens"] == ["a", "b"]


def test_an_empty_chat_still_opens_and_closes() -> None:
    stream = Stream(envelope(ChatForm(False)), False)
    parts = events(stream.ended([answer(reason="eos")]))
    assert [part["choices"][0]["finish_reason"] for part in parts] == [None, "stop"]


@pytest.mark.parametrize(
    ("status", "detail", "expected"),
    [
        (503, "full", (503, "full", "server_error", None, None)),
        (404, "no", (404, "no", "invalid_request_error", None, None)),
        (
            422,
            [{"loc": ("body", "n"), "msg": "too many", "type": "less_than_equal"}],
            (400, "n: too many", "invalid_request_error", "n", "less_than_equal"),
        ),
        (
            422,
            [
                {"loc": ["body", "prompt"], "msg": "too long", "type": "context_overflow"},
                {"loc": ["body"], "msg": "odd", "type": "odd"},
            ],
            (
                400,
                "too long (context_length_exceeded); odd",
                "invalid_request_error",
                "prompt",
                "context_length_exceeded",
            ),
        ),
    ],
)
def test_failures(status: int, detail: Any, expected: tuple[Any, ...]) -> None:
    code, body = as_openai(status, detail)
    error = body["error"]
    assert (code, error["message"], error["type"], error["param"], error["code"]) == expected


def test_nothing_that_is_no_number_gets_out() -> None:
    bad = answer("a")
    bad["tokens"][0]["logprob"] = math.nan
    stream = Stream(envelope(TextForm(True)), False)
    with pytest.raises(ValueError):
        list(stream.ended([bad]))
