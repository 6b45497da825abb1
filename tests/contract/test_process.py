"""What /process answers: fields, vocabularies, scores, sampling, stops, several completions."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.conftest import Client, Oracle, assert_same, checked

#: The eight fields that HELM's HTTP client sends, always all of them.
HELM = {
    "prompt": "Question: What is two plus two?\nA. 3\nB. 4\nAnswer:",
    "temperature": 1e-07,
    "num_return_sequences": 1,
    "max_new_tokens": 1,
    "top_p": 1,
    "echo_prompt": False,
    "top_k_per_token": 5,
    "stop_sequences": [],
}
PROMPT = "The capital of France is Paris."


def test_helm_s_eight_fields(client: Client, oracle: Oracle) -> None:
    """As mmlu sends them: one letter is asked for, with five candidates."""
    answer = checked(client.post("/process", HELM))
    (token,) = answer["tokens"]
    assert set(answer) == {
        *("text", "tokens", "logprob", "request_time", "finish_reason", "truncated_tokens"),
    }
    assert oracle.pieces(oracle.greedy(HELM["prompt"], 1)) == [token["text"]]
    assert len(token["top_logprob"]) == 5
    chosen_of = [value for name, value in token["top_logprob"].items() if name not in oracle.barred]
    assert max(chosen_of) == pytest.approx(token["logprob"], abs=1e-6)
    assert list(token["top_logprob"].values()) == sorted(token["top_logprob"].values())[::-1]
    assert answer["request_time"] > 0


def test_health_check_of_the_organizers(client: Client) -> None:
    answer = checked(client.post("/process", {"prompt": "The capital of France is "}))
    assert len(answer["tokens"]) <= 50
    assert "completions" not in answer or answer["completions"] is None


def test_the_published_document_s_fields(client: Client) -> None:
    body = {"prompt": PROMPT, "num_samples": 2, "max_new_tokens": 5, "top_k": 200}
    body |= {"temperature": 0.8, "seed": 7}
    first, second = (checked(client.post("/process", body)) for _ in range(2))
    assert len(first["completions"]) == 2
    for one, other in zip(first["completions"], second["completions"], strict=True):
        assert_same(one["tokens"], other["tokens"])


def test_both_vocabularies_in_one_body(client: Client) -> None:
    body = HELM | {"temperature": 1.0, "seed": 3, "top_k": 50, "max_new_tokens": 4}
    mixed = checked(client.post("/process", body | {"num_return_sequences": 3}))
    ours = checked(client.post("/process", body | {"num_samples": 3, "num_return_sequences": None}))
    assert len(mixed["completions"]) == 3
    for one, other in zip(mixed["completions"], ours["completions"], strict=True):
        assert_same(one["tokens"], other["tokens"])


def test_every_field_but_the_prompt_may_be_null(client: Client) -> None:
    nulls = dict.fromkeys([*HELM, "seed", "top_k", "num_samples"]) | {"prompt": PROMPT}
    assert len(checked(client.post("/process", nulls))["tokens"]) <= 50


def test_unknown_fields_are_ignored(client: Client) -> None:
    extra = {"best_of": 9, "frequency_penalty": "x", "stream": [1], "model": {"a": None}}
    assert client.process(PROMPT, **extra)["text"] == client.process(PROMPT)["text"]


def test_greedy_tokens_and_scores_are_those_of_generate(client: Client, oracle: Oracle) -> None:
    ids = oracle.greedy(PROMPT, 8)
    prompt = list(oracle.text.encode_prompt(PROMPT).ids)
    answer = client.process(PROMPT)
    assert [token["text"] for token in answer["tokens"]] == oracle.pieces(ids)
    assert [token["logprob"] for token in answer["tokens"]] == pytest.approx(
        oracle.scores(prompt + ids, len(prompt)), abs=1e-4
    )


@pytest.mark.parametrize("temperature", [0, 0.0, 1e-7, 1e-5])
def test_tiny_temperatures_are_greedy(client: Client, temperature: float) -> None:
    for seed in (1, 2):
        answer = client.process(PROMPT, temperature=temperature, seed=seed)
        assert_same(answer["tokens"], client.process(PROMPT)["tokens"])


@pytest.mark.parametrize("temperature", [1.1e-5, 1e-3, 50.0, 1e300])
def test_extreme_temperatures_stay_finite(client: Client, temperature: float) -> None:
    answer = client.process(PROMPT, temperature=temperature, seed=1)
    assert all(math.isfinite(token["logprob"]) for token in answer["tokens"])
    if temperature < 1e-2:
        assert answer["text"] == client.process(PROMPT)["text"]


@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_scores_are_of_the_untempered_distribution(
    plain: Client, oracles: Callable[[str], Oracle], temperature: float
) -> None:
    oracle = oracles("byte_level")
    first = plain.process(PROMPT, temperature=temperature, top_k=40, seed=5, max_new_tokens=1)
    (token,) = first["tokens"]
    row = oracle.logprobs(list(oracle.text.encode_prompt(PROMPT).ids))[-1]
    near = [i for i, value in enumerate(row.tolist()) if abs(value - token["logprob"]) < 1e-4]
    assert any(token["text"] in (oracle.text.names([i])[i], oracle.text.decode([i])) for i in near)


def test_candidates_per_token_are_no_sampling_limit(plain: Client) -> None:
    """1 would make sampling greedy, 0 would make it impossible."""
    fields = {"temperature": 1.0, "seed": 11, "max_new_tokens": 20}
    one = plain.process(PROMPT, **fields, top_k_per_token=1)
    many = plain.process(PROMPT, **fields, top_k_per_token=7)
    none = plain.process(PROMPT, **fields, top_k_per_token=0)
    assert one["text"] == many["text"] == none["text"]
    assert one["text"] != plain.process(PROMPT, max_new_tokens=20)["text"]
    assert {len(token["top_logprob"]) for token in none["tokens"]} == {0}


def test_as_many_candidates_as_asked_or_as_there_are(
    plain: Client, oracles: Callable[[str], Oracle]
) -> None:
    """Each has a name of its own, parts of characters and ids without text, too."""
    every = oracles("byte_level").model.config.vocab_size
    for asked in (0, 1, 3, 300, every, every + 1, 1000):
        (token,) = plain.process(PROMPT, max_new_tokens=1, top_k_per_token=asked)["tokens"]
        assert len(token["top_logprob"]) == min(asked, every)


@pytest.mark.parametrize("fields", [{"top_k": 1}, {"top_p": 0}, {"top_p": 1e-9}], ids=str)
def test_sampling_among_one_is_greedy(client: Client, fields: dict[str, Any]) -> None:
    assert (
        client.process(PROMPT, temperature=1.5, **fields)["text"] == client.process(PROMPT)["text"]
    )


@pytest.mark.parametrize("top_k", [0, -1, 425, 426, 10**6, 10**30])
def test_top_k_of_the_vocabulary_or_more_is_off(plain: Client, top_k: int) -> None:
    fields = {"temperature": 1.0, "seed": 2, "max_new_tokens": 12}
    limited = plain.process(PROMPT, **fields, top_k=top_k)["tokens"]
    assert_same(limited, plain.process(PROMPT, **fields)["tokens"])


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**64 - 1, -(2**63)])
def test_a_seed_makes_sampling_repeatable(plain: Client, seed: int) -> None:
    fields = {"temperature": 1.0, "max_new_tokens": 16}
    texts = {plain.process(PROMPT, **fields, seed=seed)["text"] for _ in range(2)}
    assert len(texts) == 1
    assert texts != {plain.process(PROMPT, **fields, seed=12345)["text"]}


def test_without_a_seed_answers_differ(plain: Client) -> None:
    fields = {"temperature": 1.0, "max_new_tokens": 24}
    assert len({plain.process(PROMPT, **fields)["text"] for _ in range(3)}) > 1


def test_several_completions_the_first_mirrored(client: Client) -> None:
    fields = {"temperature": 1.0, "max_new_tokens": 6, "seed": 40}
    answer = client.process(PROMPT, **fields, num_samples=3)
    first, *others = answer["completions"]
    assert first == {name: answer[name] for name in ("text", "tokens", "logprob", "finish_reason")}
    for place, other in enumerate(others, start=1):
        alone = client.process(PROMPT, **fields | {"seed": 40 + place})
        assert other["text"] == alone["text"], "completion i is that of seed + i"
    assert len({completion["text"] for completion in answer["completions"]}) > 1


def test_several_greedy_completions_are_the_same(client: Client) -> None:
    answer = client.process(PROMPT, num_return_sequences=4)
    assert len(answer["completions"]) == 4
    assert {completion["text"] for completion in answer["completions"]} == {answer["text"]}


def test_most_completions_at_once(plain: Client) -> None:
    answer = plain.process(PROMPT, temperature=1, max_new_tokens=2, num_samples=128, seed=1)
    assert len(answer["completions"]) == 128


def test_the_last_seed_wraps_around(plain: Client) -> None:
    answer = plain.process(PROMPT, temperature=1, num_samples=2, seed=2**64 - 1)
    again = plain.process(PROMPT, temperature=1, seed=0)
    assert answer["completions"][1]["text"] == again["text"]


def found(
    client: Client, look: Callable[[dict[str, Any]], tuple[str, int] | None]
) -> tuple[dict[str, Any], dict[str, Any], str, int]:
    """An answer in which ``look`` finds a stop and its place: what asks for it, it, and both."""
    for seed in range(40):
        fields = {"temperature": 1.0, "seed": seed, "max_new_tokens": 24}
        whole = client.process(PROMPT, **fields)
        place = look(whole)
        if place:
            return fields, whole, *place
    raise AssertionError("no such answer")


def stop_over_a_border(answer: dict[str, Any]) -> tuple[str, int] | None:
    """A stop made of one token's last and the next one's first character."""
    start = 0
    for left, right in itertools.pairwise(answer["tokens"]):
        start += len(left["text"])
        stop = left["text"][-1:] + right["text"][:1]
        first = answer["text"].find(stop)
        if len(stop) == 2 and "\ufffd" not in stop and first == start - 1 > 2:
            return stop, first
    return None


def test_a_stop_may_span_tokens_and_is_cut_from_text_tokens_and_logprob(client: Client) -> None:
    fields, whole, stop, place = found(client, stop_over_a_border)
    answer = client.process(PROMPT, **fields, stop_sequences=["\x01never", stop])
    assert answer["text"] == whole["text"][:place]
    assert answer["finish_reason"] == "stop"
    kept = [token["logprob"] for token in whole["tokens"][: len(answer["tokens"])]]
    assert [token["logprob"] for token in answer["tokens"]] == pytest.approx(kept, abs=1e-4)
    assert answer["logprob"] == pytest.approx(sum(kept), abs=1e-3)


def stop_inside_a_token(answer: dict[str, Any]) -> tuple[str, int] | None:
    """The second of a token's characters, where it comes for the first time."""
    start = 0
    for token in answer["tokens"]:
        stop = token["text"][1:2]
        if stop and stop != "\ufffd" and answer["text"].find(stop) == start + 1 > 2:
            return stop, start + 1
        start += len(token["text"])
    return None


def test_a_stop_inside_one_token(client: Client) -> None:
    fields, whole, stop, place = found(client, stop_inside_a_token)
    answer = client.process(PROMPT, **fields, stop_sequences=[stop])
    assert answer["text"] == whole["text"][:place]
    assert whole["tokens"][len(answer["tokens"]) - 1]["text"] != answer["tokens"][-1]["text"]


def test_the_earliest_of_several_stops_wins(client: Client) -> None:
    fields, whole, *_ = found(client, stop_over_a_border)
    stops = sorted(set(whole["text"]) - {"\ufffd"}, key=whole["text"].find)[1:5]
    answer = client.process(PROMPT, **fields, stop_sequences=stops[::-1])
    assert answer["text"] == whole["text"][: whole["text"].find(stops[0])]


def test_a_stop_at_the_very_start_leaves_nothing(client: Client) -> None:
    fields, whole, *_ = found(client, lambda answer: (answer["text"][:1], 0))
    answer = client.process(PROMPT, **fields, stop_sequences=[whole["text"][0]])
    assert (answer["text"], answer["tokens"], answer["logprob"]) == ("", [], 0)
    assert answer["finish_reason"] == "stop"


def test_stops_are_not_looked_for_in_the_prompt(client: Client) -> None:
    prompt = "~q~q~q~ " + PROMPT  # more tokens than are generated
    answer = client.process(prompt, echo_prompt=True, max_new_tokens=2, stop_sequences=["~q~q~q~"])
    assert answer["text"].startswith(prompt)
    assert answer["finish_reason"] != "stop"


def test_many_and_long_stops(client: Client) -> None:
    stops = [f"\x02{i}" for i in range(200)] + ["\x03" * 5000]
    assert client.process(PROMPT, stop_sequences=stops)["text"] == client.process(PROMPT)["text"]


def test_echo_puts_the_prompt_s_own_text_tokens_and_scores_first(
    client: Client, oracle: Oracle
) -> None:
    answer = client.process(PROMPT, echo_prompt=True, max_new_tokens=4)
    prompt = oracle.text.encode_prompt(PROMPT)
    new = oracle.greedy(PROMPT, 4)
    own = len(prompt.ids) - prompt.lead
    assert answer["text"].startswith(PROMPT)
    assert "".join(token["text"] for token in answer["tokens"][:own]) == PROMPT
    assert len(answer["tokens"]) == own + len(new)
    assert answer["tokens"][0]["logprob"] == 0.0
    scores = [0.0, *oracle.scores([*prompt.ids, *new], prompt.lead + 1)]
    assert [token["logprob"] for token in answer["tokens"]] == pytest.approx(scores, abs=1e-4)


def test_scoring_generates_nothing(client: Client, oracle: Oracle) -> None:
    """As HELM's separate multiple choice and language modelling ask: the last k tokens count."""
    answer = client.process(PROMPT, echo_prompt=True, max_new_tokens=0, top_k_per_token=5)
    prompt = oracle.text.encode_prompt(PROMPT)
    assert answer["text"] == PROMPT
    assert len(answer["tokens"]) == len(prompt.ids) - prompt.lead
    assert answer["finish_reason"] == "length"
    rows = oracle.logprobs(list(prompt.ids))[prompt.lead :]
    for token, row in zip(answer["tokens"][1:], rows, strict=False):
        assert max(token["top_logprob"].values()) == pytest.approx(float(row.max()), abs=1e-4)


def test_the_last_k_tokens_are_those_of_the_reference(client: Client) -> None:
    """HELM takes the last ``len(/tokenize(" " + reference))`` of an echoed question with answer."""
    for reference in ("Paris", "four", "B. 4"):
        k = len(client.tokenize(" " + reference))
        answer = client.process(
            "What is it? The capital is " + reference, echo_prompt=True, max_new_tokens=0
        )
        assert "".join(t["text"] for t in answer["tokens"][-k:]).strip().endswith(reference[-1])
        assert len(answer["tokens"]) >= k


def test_nothing_asked_nothing_given(client: Client) -> None:
    answer = client.process(PROMPT, max_new_tokens=0)
    assert (answer["text"], answer["tokens"], answer["logprob"]) == ("", [], 0)


def test_new_tokens_only_without_echo(client: Client) -> None:
    echoed = client.process(PROMPT, echo_prompt=True)
    alone = client.process(PROMPT)
    assert echoed["text"] == PROMPT + alone["text"]
    assert len(alone["tokens"]) <= 8


def test_end_of_text_is_no_part_of_the_answer(client: Client, oracle: Oracle) -> None:
    """Over many seeds some answer ends by itself; none shows the token it ended with."""
    answer = client.process(
        PROMPT, temperature=3.0, num_samples=64, max_new_tokens=50, seed=1, top_k_per_token=0
    )
    reasons = {completion["finish_reason"] for completion in answer["completions"]}
    assert "eos" in reasons
    for completion in answer["completions"]:
        assert "</s>" not in completion["text"] and "<|im_end|>" not in completion["text"]
        assert completion["finish_reason"] == "eos" or len(completion["tokens"]) >= 32


def test_split_characters_are_whole_in_some_token(client: Client) -> None:
    """Far from the corpus each byte is a token: the character comes with the last of them."""
    prompt = "x\U0001b000\u0801 y"
    answer = client.process(prompt, echo_prompt=True, max_new_tokens=0)
    texts = [token["text"] for token in answer["tokens"]]
    assert "".join(texts) == prompt
    assert "\ufffd" not in "".join(texts)
    assert texts.count("") >= 3 + 2


def test_answers_that_end_within_a_character(client: Client) -> None:
    """At high temperature most bytes make no character: U+FFFD, and pieces that join."""
    client.process(
        PROMPT, temperature=9.0, num_samples=16, max_new_tokens=12, seed=3, echo_prompt=True
    )  # ``checked`` joins the pieces


def test_request_id_comes_back(plain: Client) -> None:
    answer = plain.post("/process", HELM)
    assert len(answer.headers["X-Request-Id"]) >= 8


def test_json_has_no_nan_and_is_utf_8(plain: Client) -> None:
    response = plain.post("/process", HELM | {"temperature": 1e300, "max_new_tokens": 8})
    assert response.headers["Content-Type"].startswith("application/json")
    assert not {"NaN", "Infinity"} & set(response.text.replace(",", " ").split())
    response.content.decode("utf-8")
