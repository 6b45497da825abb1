"""Many requests at once: each gets what it gets alone."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.conftest import Client, assert_same, checked

FEW_SHOT = "Question: What is two plus two?\nA. 3\nB. 4\nAnswer: B\n\n" * 4


def mixed() -> list[dict[str, Any]]:
    """Thirty bodies as HELM's scenarios send them side by side."""
    choice = [
        {"prompt": f"{FEW_SHOT}Question {i}?\nAnswer:", "max_new_tokens": 1, "top_k_per_token": 5}
        for i in range(8)
    ]
    generation = [
        {"prompt": f"Q: {i}" * (i + 1), "max_new_tokens": 12 + 3 * i, "stop_sequences": ["\n\n"]}
        for i in range(6)
    ]
    summary = [
        {"prompt": f"The capital of {i}", "temperature": 0.3, "seed": i, "max_new_tokens": 20}
        for i in range(6)
    ]
    scoring = [
        {"prompt": f"{FEW_SHOT}{i} café", "max_new_tokens": 0, "echo_prompt": True}
        for i in range(5)
    ]
    several = [
        {"prompt": f"Rome {i}", "num_return_sequences": 3, "temperature": 1, "seed": 100 * i}
        for i in range(5)
    ]
    bodies = [*choice, *generation, *summary, *scoring, *several]
    return [{"temperature": 1e-7, "max_new_tokens": 6} | body for body in bodies]


def completions(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return answer.get("completions") or [answer]


def test_thirty_at_once_are_answered_as_each_alone(client: Client) -> None:
    bodies = mixed()
    alone = [checked(client.post("/process", body)) for body in bodies]
    with ThreadPoolExecutor(30) as pool:
        together = list(pool.map(lambda body: client.post("/process", body), bodies))
    for one, other in zip(alone, map(checked, together), strict=True):
        for a, b in zip(completions(one), completions(other), strict=True):
            assert_same(a["tokens"], b["tokens"])
            assert a["finish_reason"] == b["finish_reason"]
            assert a["logprob"] == pytest.approx(b["logprob"], abs=1e-3)


def test_the_same_request_thirty_times(client: Client) -> None:
    body = {"prompt": "The capital", "seed": 9, "temperature": 1.0, "max_new_tokens": 20}
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: client.post("/process", body), range(30)))
    first, *others = [checked(answer)["tokens"] for answer in answers]
    for other in others:
        assert_same(first, other)


def test_tokenizing_does_not_wait_behind_generation(plain: Client) -> None:
    body = {"prompt": "The", "max_new_tokens": 600, "temperature": 1}
    with ThreadPoolExecutor(9) as pool:
        running = [pool.submit(plain.post, "/process", body | {"seed": i}) for i in range(8)]
        time.sleep(0.2)
        seconds = []
        while not all(future.done() for future in running):
            start = time.monotonic()
            assert plain.decode(plain.tokenize("Hello , world .")) == "Hello , world ."
            seconds.append(time.monotonic() - start)
        assert [future.result().status_code for future in running] == [200] * 8
    assert sorted(seconds)[len(seconds) // 2] < 0.5


def test_short_requests_overtake_long_ones(plain: Client) -> None:
    """A letter of multiple choice is not held up by the 400 tokens of another scenario."""
    with ThreadPoolExecutor(4) as pool:
        long = [
            pool.submit(plain.post, "/process", {"prompt": f"{i}", "max_new_tokens": 900})
            for i in range(3)
        ]
        time.sleep(0.2)
        short = [checked(plain.post("/process", {"prompt": "x", "max_new_tokens": 1}))]
        unfinished = [future for future in long if not future.done()]
        assert short and unfinished
        assert all(future.result().status_code == 200 for future in long)


def test_each_has_its_own_id(plain: Client) -> None:
    body = {"prompt": "x", "max_new_tokens": 1}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: plain.post("/process", body), range(16)))
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 16
