"""OpenAI's endpoints, asked by OpenAI's own Python client, as it comes."""

import itertools
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
import requests

from serve.openai_requests import MOST
from tests.contract.conftest import Client, Oracle
from tests.contract.servers import TEMPLATE

PROMPT = "The capital of France is Paris."
CHAT: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is two plus two?"},
]


def connect(client: Client) -> openai.OpenAI:
    """OpenAI's client of that server; without its retries, so that a failure is seen."""
    return openai.OpenAI(
        base_url=client.server.url + "/v1", api_key="none", max_retries=0, timeout=300
    )


@pytest.fixture
def api(client: Client) -> openai.OpenAI:
    """Of the server of each kind."""
    return connect(client)


@pytest.fixture
def plain_api(plain: Client) -> openai.OpenAI:
    """Of the byte-level server, the one with a chat template."""
    return connect(plain)


def test_a_completion_is_what_process_gives(api: openai.OpenAI, client: Client) -> None:
    made = api.completions.create(model="any", prompt=PROMPT, max_tokens=8, temperature=0)
    answer = client.process(PROMPT)
    assert made.choices[0].text == answer["text"]
    assert made.choices[0].finish_reason == (
        "stop" if answer["finish_reason"] == "eos" else "length"
    )
    assert made.choices[0].logprobs is None and made.object == "text_completion"
    assert made.usage and made.usage.completion_tokens == len(answer["tokens"])
    assert re.fullmatch(r"cmpl-\w+", made.id) and abs(made.created - time.time()) < 60


def test_token_ids_are_fed_as_they_are(api: openai.OpenAI, oracle: Oracle) -> None:
    ids = list(oracle.text.encode_prompt(PROMPT).ids)
    text = api.completions.create(model="m", prompt=PROMPT, max_tokens=8, temperature=0)
    same = api.completions.create(model="m", prompt=ids, max_tokens=8, temperature=0)
    assert same.choices[0].text == text.choices[0].text
    assert same.usage and text.usage and same.usage == text.usage
    assert same.usage.prompt_tokens == len(ids)
    without = api.completions.create(model="m", prompt=ids[1:], max_tokens=1, temperature=0)
    assert without.usage and without.usage.prompt_tokens == len(ids) - 1, "no BOS is added"


def test_echo_and_logprobs_are_those_of_a_forward_pass(api: openai.OpenAI, oracle: Oracle) -> None:
    """As lm-eval asks: token ids, one new token, the scores of all of them."""
    ids = list(oracle.text.encode_prompt(PROMPT).ids)
    made = api.completions.create(
        model="m", prompt=ids, max_tokens=1, temperature=0, logprobs=1, echo=True
    )
    scores = made.choices[0].logprobs
    assert scores and scores.token_logprobs and scores.top_logprobs and scores.tokens
    assert len(scores.token_logprobs) == len(ids) + 1 == len(scores.tokens)
    assert scores.token_logprobs[0] is None and scores.top_logprobs[0] is None
    assert scores.token_logprobs[1:-1] == pytest.approx(oracle.scores(ids, 1), abs=1e-4)
    rows = oracle.logprobs(ids)
    best = [max(top.values()) for top in scores.top_logprobs[1:] if top]
    assert best == pytest.approx(rows.max(-1).values.tolist(), abs=1e-4)
    greedy = [token == int(row.argmax()) for token, row in zip(ids[1:], rows, strict=False)]
    shown = [one == top for one, top in zip(scores.token_logprobs[1:-1], best, strict=False)]
    assert shown == greedy
    assert "".join(scores.tokens).startswith(made.choices[0].text)
    assert scores.text_offset and scores.text_offset[0] == 0


def test_a_prompt_is_scored_without_a_new_token(plain_api: openai.OpenAI) -> None:
    made = plain_api.completions.create(
        model="m", prompt=PROMPT, max_tokens=0, logprobs=0, echo=True
    )
    [choice] = made.choices
    assert choice.text == PROMPT and choice.finish_reason == "length"
    assert made.usage and made.usage.completion_tokens == 0
    assert choice.logprobs and choice.logprobs.tokens
    assert "".join(choice.logprobs.tokens) == PROMPT


def test_several_prompts_and_several_of_each(plain_api: openai.OpenAI, plain: Client) -> None:
    made = plain_api.completions.create(
        model="m", prompt=[PROMPT, "Rome"], n=2, seed=5, temperature=1, max_tokens=6
    )
    assert [choice.index for choice in made.choices] == [0, 1, 2, 3]
    fields = {"num_samples": 2, "seed": 5, "temperature": 1, "max_new_tokens": 6}
    ours = [plain.process(prompt, **fields)["completions"] for prompt in (PROMPT, "Rome")]
    texts = [completion["text"] for some in ours for completion in some]
    assert [choice.text for choice in made.choices] == texts
    greedy = plain_api.completions.create(
        model="m", prompt=PROMPT, n=3, temperature=0, max_tokens=4, logprobs=2
    )
    assert len({choice.text for choice in greedy.choices}) == 1 and len(greedy.choices) == 3


def test_stop_ends_the_text(plain_api: openai.OpenAI) -> None:
    whole = plain_api.completions.create(model="m", prompt="x", max_tokens=20, temperature=0)
    text = whole.choices[0].text
    stop = text[5:8]
    made = plain_api.completions.create(
        model="m", prompt="x", max_tokens=20, temperature=0, stop=[stop]
    )
    assert made.choices[0].text == text[: text.index(stop)]
    assert made.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("fields", [{}, {"n": 2, "temperature": 1}, {"stop": ["e", "\n"]}], ids=str)
def test_a_stream_is_the_answer_in_parts(api: openai.OpenAI, fields: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"model": "m", "prompt": PROMPT, "max_tokens": 40, "seed": 3}
    asked |= {"temperature": 0} | fields
    whole = api.completions.create(**asked)
    options: Any = {"include_usage": True}
    parts = list(api.completions.create(**asked, stream=True, stream_options=options))
    texts, reasons = dict[int, str](), dict[int, Any]()
    for part in parts:
        for choice in part.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
    assert texts == {choice.index: choice.text for choice in whole.choices}
    assert reasons == {choice.index: choice.finish_reason for choice in whole.choices}
    assert parts[-1].usage == whole.usage and not parts[-1].choices


def test_a_stream_comes_while_it_is_made(clients: Callable[[str], Client]) -> None:
    """The parts of an answer that takes longer than its deadline."""
    api = connect(clients("small"))
    asked: dict[str, Any] = {"model": "m", "prompt": "x", "max_tokens": 8000, "temperature": 0}
    with api.completions.create(**asked, stream=True) as stream:
        parts = list(itertools.islice(stream, 3))
    assert all(part.choices[0].text for part in parts)
    assert not any(part.choices[0].finish_reason for part in parts)


def test_a_stream_of_scores_has_one_part(plain_api: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "m", "prompt": PROMPT, "temperature": 0, "logprobs": 1}
    whole = plain_api.completions.create(**asked, echo=True)
    parts = list(plain_api.completions.create(**asked, echo=True, stream=True))
    assert "".join(part.choices[0].text for part in parts) == whole.choices[0].text
    assert parts[-1].choices[0].logprobs == whole.choices[0].logprobs


def test_a_client_that_hangs_up_frees_its_place(clients: Callable[[str], Client]) -> None:
    client = clients("small")
    body = {"prompt": "x", "max_tokens": 8000, "temperature": 0, "stream": True}
    with requests.post(client.server.url + "/v1/completions", json=body, stream=True) as reply:
        next(reply.iter_lines())
    end = time.monotonic() + 2.5  # before its deadline
    while time.monotonic() < end:
        text = requests.get(client.server.url + "/metrics", timeout=10).text
        if "oneday_running 0.0" in text and "oneday_in_flight 0.0" in text:
            return
        time.sleep(0.1)
    raise AssertionError("it is still being answered")


def chat_text() -> str:
    import jinja2

    return jinja2.Template(TEMPLATE).render(
        messages=CHAT, eos_token="<|im_end|>", add_generation_prompt=True
    )


def test_a_chat_is_answered_by_the_model_s_template(
    plain_api: openai.OpenAI, oracles: Callable[[str], Oracle]
) -> None:
    oracle = oracles("byte_level")
    ids = list(oracle.text.encode_prompt(chat_text(), parse_special=True).ids)
    made = plain_api.chat.completions.create(
        model="m", messages=CHAT, max_tokens=8, temperature=0, logprobs=True, top_logprobs=3
    )
    [choice] = made.choices
    plain = plain_api.completions.create(model="m", prompt=ids, max_tokens=8, temperature=0)
    assert choice.message.content == plain.choices[0].text
    assert choice.message.role == "assistant" and made.object == "chat.completion"
    assert made.usage and made.usage.prompt_tokens == len(ids)
    assert choice.logprobs and choice.logprobs.content
    first = choice.logprobs.content[0]
    assert first.logprob == pytest.approx(float(oracle.logprobs(ids)[-1].max()), abs=1e-4)
    assert 1 <= len(first.top_logprobs) <= 3


def test_a_chat_s_stream(plain_api: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "m", "messages": CHAT, "max_tokens": 30, "temperature": 0}
    whole = plain_api.chat.completions.create(**asked)
    parts = list(plain_api.chat.completions.create(**asked, stream=True))
    deltas = [part.choices[0].delta for part in parts]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    assert parts[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_model_without_a_template_says_so(clients: Callable[[str], Client]) -> None:
    with pytest.raises(openai.BadRequestError, match="no chat template") as caught:
        connect(clients("prepend")).chat.completions.create(model="m", messages=CHAT)
    assert caught.value.param == "messages" and caught.value.type == "invalid_request_error"


def test_models(api: openai.OpenAI, kind: str) -> None:
    [model] = api.models.list().data
    assert model.id == kind and model.object == "model"
    assert api.models.retrieve(kind) == model
    with pytest.raises(openai.NotFoundError, match="no 'gpt'"):
        api.models.retrieve("gpt")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": 5}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[10**9]]}, "prompt"),
        ({"prompt": ["x"] * (MOST + 1)}, "prompt"),
        ({"n": 0}, "n"),
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"guided_json": {}}, "guided_json"),
        ({"stop_token_ids": [10**9]}, "stop_token_ids"),
        ({"min_tokens": 17}, "min_tokens"),
        ({"suffix": "x"}, "suffix"),
        ({"stop": ["a", ""]}, "stop.1"),
        ({"temperature": -1}, "temperature"),
        ({"stream_options": {"include_usage": "maybe"}}, "stream_options.include_usage"),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals(plain: Client, fields: dict[str, Any], param: str, stream: bool) -> None:
    response = plain.post("/v1/completions", {"prompt": "x", "stream": stream} | fields)
    assert response.status_code == 400
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert param in error["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["prepend", "strict"])
def test_a_prompt_too_long_is_refused_by_openai_s_code(
    clients: Callable[[str], Client], kind: str, stream: bool
) -> None:
    api = connect(clients(kind))
    with pytest.raises(
        openai.BadRequestError, match="maximum context length is 64 tokens"
    ) as caught:
        api.completions.create(model="m", prompt="x " * 200, max_tokens=1, stream=stream)
    assert caught.value.code == "context_length_exceeded" and caught.value.param == "prompt"


@pytest.mark.parametrize("stream", [False, True])
def test_a_field_that_nobody_knows_is_named_in_a_header(plain: Client, stream: bool) -> None:
    asked = {"prompt": "x", "max_tokens": 1, "stream": stream}
    made = plain.post("/v1/completions", asked | {"tmp": 1})
    assert (made.status_code, made.headers["X-Ignored-Fields"]) == (200, "tmp")
    assert "X-Ignored-Fields" not in plain.post("/v1/completions", asked).headers


def test_a_field_that_process_does_not_know(plain: Client) -> None:
    asked = {"prompt": "x", "max_new_tokens": 1, "num_return_sequences": 1}
    made = plain.post("/process", asked | {"topk": 1})
    assert (made.status_code, made.headers["X-Ignored-Fields"]) == (200, "topk")
    assert "X-Ignored-Fields" not in plain.post("/process", asked).headers


def test_stops_on_special_tokens_and_least_tokens(
    clients: Callable[[str], Client], oracles: Callable[[str], Oracle]
) -> None:
    """On the model without EOS, so that its special tokens are tokens like any other."""
    client, codec = clients("small"), oracles("small").text
    stops = ["<|im_end|>", "<|endoftext|>"]
    ids = [codec.encode_prompt(stop, parse_special=True).ids[0] for stop in stops]
    body = {"prompt": "x", "max_tokens": 40, "temperature": 1.5, "n": 32, "seed": 1}

    def choices(**more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.post("/v1/completions", body | more).json()["choices"]
        return found

    free, by_text, by_id = choices(), choices(stop=stops), choices(stop_token_ids=ids)
    for one, same in zip(by_text, by_id, strict=True):  # a stop drops a character left unfinished
        assert one["text"].rstrip("\ufffd") == same["text"].rstrip("\ufffd")
    ended = [one for one in by_text if one["finish_reason"] == "stop"]
    assert ended, "no sample had a special token: this test shows nothing"
    assert all(a["text"].startswith(b["text"]) for a, b in zip(free, by_text, strict=True))
    least = choices(stop_token_ids=ids, min_tokens=40)
    assert {one["finish_reason"] for one in least} == {"length"}


def test_best_of_as_helm_asks(plain_api: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "m", "prompt": PROMPT, "temperature": 0, "max_tokens": 1}
    made = plain_api.completions.create(**asked, best_of=5, logprobs=5, echo=True)
    assert len(made.choices) == 1


def test_candidates_are_as_many_as_asked_and_each_has_a_name(plain_api: openai.OpenAI) -> None:
    made = plain_api.completions.create(
        model="m", prompt=PROMPT, temperature=0, max_tokens=3, logprobs=300
    )
    scores = made.choices[0].logprobs
    assert scores and scores.top_logprobs
    assert {len(top) for top in scores.top_logprobs} == {300}


def test_a_chat_that_goes_on(plain_api: openai.OpenAI) -> None:
    begun = [*CHAT, {"role": "assistant", "content": "It is"}]
    made = plain_api.chat.completions.create(
        model="m", messages=begun, max_tokens=8, temperature=0,
        extra_body={"continue_final_message": True},
    )  # fmt: skip
    same = plain_api.completions.create(
        model="m", prompt=chat_text() + " It is", max_tokens=8, temperature=0,
        extra_body={"parse_special": True},
    )  # fmt: skip
    assert made.choices[0].message.content == same.choices[0].text


def test_lm_eval_s_remote_tokenizer(plain: Client, oracles: Callable[[str], Oracle]) -> None:
    from lm_eval.utils import RemoteTokenizer

    remote, codec = (
        RemoteTokenizer(plain.server.url + "/v1/completions"),
        oracles("byte_level").text,
    )
    ids = remote.encode(PROMPT + "<|im_end|>")
    assert ids == list(codec.encode_prompt(PROMPT + "<|im_end|>", parse_special=True).ids)
    assert remote.decode(ids) == PROMPT + "<|im_end|>"
    assert remote.eos_token_id == codec.eos_id
    assert remote.apply_chat_template(CHAT, eos_token=remote.eos_token) == chat_text()


@pytest.mark.parametrize(
    "wrong", ["/completions", "/v1/v1/completions", "//v1/completions", "/api/v1/completions"]
)
def test_a_slightly_wrong_address_is_told_the_right_one(plain: Client, wrong: str) -> None:
    answer = requests.post(plain.server.url + wrong, json={}, timeout=30)
    assert answer.status_code == 404 and "POST /v1/completions" in answer.text


def test_a_slightly_wrong_method_or_header(plain: Client) -> None:
    url, kind = plain.server.url, {"Content-Type": "text/plain"}
    method = requests.get(url + "/v1/completions", timeout=30)
    assert method.status_code == 405 and "takes POST, not GET" in method.text
    bare = requests.post(url + "/process", data='{"prompt": "x"}', headers=kind, timeout=30)
    assert bare.status_code == 422 and "Content-Type: application/json" in bare.text
    assert requests.head(url + "/health", timeout=30).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"prompt": "\\ud800"}'])
def test_broken_bodies(plain: Client, body: bytes) -> None:
    for path in ("/v1/completions", "/v1/chat/completions"):
        response = requests.post(
            plain.server.url + path,
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=30,
        )
        assert response.status_code == 400 and response.json()["error"]["message"]


def test_other_refusals_have_openai_s_shape(clients: Callable[[str], Client]) -> None:
    client = clients("small")
    large = client.post("/v1/completions", {"prompt": "x" * 20_000})
    assert large.status_code == 413 and "max_body" in large.json()["error"]["message"]
    missing = client.post("/v1/embeddings", {})
    assert missing.status_code == 404 and missing.json()["error"]["type"]
    late = client.post("/v1/completions", {"prompt": "x", "max_tokens": 8000, "temperature": 0})
    assert late.status_code == 504 and late.json()["error"]["type"] == "server_error"
    assert missing.headers["X-Request-Id"]


def test_a_failure_in_a_stream_is_its_last_event(clients: Callable[[str], Client]) -> None:
    api = connect(clients("small"))
    with pytest.raises(openai.APIError, match="no answer within 3 s"):
        for _ in api.completions.create(
            model="m", prompt="x", max_tokens=8000, temperature=0, stream=True
        ):
            pass


def test_a_full_server_sends_clients_away(clients: Callable[[str], Client]) -> None:
    client = clients("small")
    body = {"prompt": "x", "max_tokens": 8000, "temperature": 0}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/completions", body), range(4)))
    full = [answer for answer in answers if answer.status_code == 503]
    assert full and all(answer.headers["Retry-After"] for answer in full)
    assert "max_queue" in json.loads(full[0].text)["error"]["message"]


def test_its_routes_are_counted_and_not_in_the_challenge_s_document(plain: Client) -> None:
    plain.post("/v1/completions", {"prompt": "x", "max_tokens": 1})
    text = requests.get(plain.server.url + "/metrics", timeout=10).text
    assert 'oneday_requests_total{route="/v1/completions",status="200"}' in text
    document = requests.get(plain.server.url + "/openapi.json", timeout=10).json()
    assert not [path for path in document["paths"] if path.startswith("/v1")]
