"""What a soak sends, and what it finds fault with."""

import json
from collections import Counter
from typing import Any

import pytest
from tokenizers import Tokenizer

from benchmarks.soak import HUNG_UP, Tally, in_flight
from benchmarks.soak_mix import WEIGHTS, Attempt, Mix, wrong

BODY = {"prompt": "x", "max_new_tokens": 2, "stop_sequences": ["!"]}


def answer(*texts: str, **changes: Any) -> dict[str, Any]:
    tokens = [{"text": text, "logprob": -1.0} for text in texts]
    return {"text": "".join(texts), "tokens": tokens, "truncated_tokens": 0} | changes


def test_all_kinds_are_drawn_as_often_as_they_should(tokenizer: Tokenizer) -> None:
    assert sum(WEIGHTS.values()) == 100
    mix = Mix(tokenizer, 1, 512, 0.1)
    drawn = [mix.draw() for _ in range(600)]
    count = Counter(attempt.kind for attempt in drawn)
    assert set(count) == set(WEIGHTS)
    assert 12 <= count["invalid"] <= 60
    assert all(attempt.hang_up_s is not None for attempt in drawn if attempt.kind == "hang up")


def test_over_long_prompts_are_over_long(tokenizer: Tokenizer) -> None:
    mix = Mix(tokenizer, 1, 512, 0.1)
    attempt = next(a for a in iter(mix.draw, None) if a.kind == "over-long")
    prompt = json.loads(attempt.body or b"")["prompt"]
    assert len(tokenizer.encode(prompt).ids) > 512


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (answer("a", "b"), ""),
        (answer("a", text="ab"), "texts"),
        (answer("a", tokens=[{"text": "a", "logprob": float("nan")}]), "logprob"),
        (answer("a", tokens=[{"text": "a", "logprob": 0.5}]), "logprob"),
        (answer("a", "b", "c"), "3 new"),
        (answer("a!"), "!"),
        (answer("a", truncated_tokens=3), "cut"),
        (answer("a", completions=[answer("a")] * 2), "2 completions"),
    ],
)
def test_faults_of_answers(content: dict[str, Any], fault: str) -> None:
    found = wrong(BODY, content, cut=False)
    assert (fault in found) if fault else not found


def test_a_prompt_that_had_to_be_cut_must_be() -> None:
    assert "cut" in wrong(BODY, answer("a"), cut=True)
    assert not wrong(BODY, answer("a", truncated_tokens=9), cut=True)


def test_the_same_request_must_have_the_same_answer(tokenizer: Tokenizer) -> None:
    mix = Mix(tokenizer, 1, 512, 0.1)
    attempts = [a for a in (mix.draw() for _ in range(600)) if a.kind == "repeated"]
    first = attempts[0]
    second = next(a for a in attempts[1:] if a.body == first.body)
    assert first.check and second.check
    assert not first.check(answer("a"))
    assert not second.check(answer("a"))
    assert "first 'a'" in second.check(answer("b"))


def test_tally_knows_what_is_unexpected() -> None:
    tally = Tally()
    tally.add(Attempt("short", "/process", b"{}"), 200, "")
    tally.add(Attempt("hang up", "/process", b"{}", hang_up_s=0.1), HUNG_UP, "")
    tally.add(Attempt("hang up", "/process", b"{}", hang_up_s=0.1), 200, "")
    tally.add(Attempt("invalid", "/process", b"{}", 422), 422, "")
    assert not tally.faults
    tally.add(Attempt("invalid", "/process", b"{}", 422), 500, "oops")
    tally.add(Attempt("short", "/process", b"{}"), HUNG_UP, "")
    tally.add(Attempt("short", "/process", b"{}"), 200, "no echo")
    assert len(tally.faults) == 3 and tally.answers.total() == 7


def test_in_flight_is_read_from_the_metrics() -> None:
    text = "# HELP oneday_in_flight x\noneday_in_flight 3.0\noneday_running 2.0\noneday_steps 9.0\n"
    assert in_flight(text) == 3
