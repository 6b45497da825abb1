"""The contract, asked of a server whose every answer is the likelier of two adapters' answers.

What each adapter says is PEFT's own forward pass here. Scores of a prompt, and prompts of token
ids, meet no rule: there the model itself answers, as the contract's checks of these expect.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from prometheus_client.parser import text_string_to_metric_families

from serve.text import TextCodec
from tests.contract import test_openai, test_process, test_prompts, test_text_routes, test_together
from tests.contract.conftest import Client, Oracle, checked
from tests.contract.test_families import PLAIN

PROMPT = test_process.PROMPT
PROMPTS = (PROMPT, "Rome", "Question: What is two plus two?\nA. 3\nB. 4\nAnswer:", "x", "café", "1")
#: Checks of a family that hold for no choice between answers: a stop leaves other tokens to be
#: compared, so another adapter may win; and what follows an echo is the model's own.
NOT_HERE = (
    test_process.test_a_stop_may_span_tokens_and_is_cut_from_text_tokens_and_logprob,
    test_process.test_a_stop_inside_one_token,
    test_process.test_the_earliest_of_several_stops_wins,
    test_process.test_a_stop_at_the_very_start_leaves_nothing,
    test_process.test_new_tokens_only_without_echo,
)
HERE = (
    *(check for check in PLAIN if check not in NOT_HERE),
    test_process.test_answers_that_end_within_a_character,
    test_process.test_split_characters_are_whole_in_some_token,
    test_process.test_the_last_k_tokens_are_those_of_the_reference,
    test_together.test_thirty_at_once_are_answered_as_each_alone,
)
ITSELF = (
    test_process.test_echo_puts_the_prompt_s_own_text_tokens_and_scores_first,
    test_process.test_scoring_generates_nothing,
    test_text_routes.test_no_special_token_is_added,
)


@pytest.fixture
def client(clients: Callable[[str], Client]) -> Client:
    """Of the server with the ensemble."""
    return clients("ensemble")


@pytest.fixture
def oracle(oracles: Callable[[str], Oracle]) -> Oracle:
    """Of the model itself."""
    return oracles("ensemble")


@pytest.fixture(scope="module")
def voices(root: Path, clients: Callable[[str], Client]) -> list[Oracle]:
    """Both adapters, by PEFT."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    made = []
    for place in range(2):
        base = AutoModelForCausalLM.from_pretrained(root / "ensemble", dtype=torch.float32)
        net = PeftModel.from_pretrained(base, root / f"ensemble-adapter-{place}").eval()
        made.append(Oracle(net, TextCodec.load(root / "ensemble")))
    return made


def spoken(voice: Oracle, prompt: str, new: int) -> tuple[float, list[str], list[float]]:
    """What an adapter says: its score, texts and logprobs."""
    ids, asked = voice.greedy(prompt, new), list(voice.text.encode_prompt(prompt).ids)
    ended = len(ids) < new and voice.text.eos_id is not None
    whole = [*ids, voice.text.eos_id] if ended else ids
    scores = voice.scores(asked + whole, len(asked))
    return math.fsum(scores) / len(scores), voice.pieces(ids), scores[: len(ids)]


@pytest.mark.parametrize("check", HERE, ids=lambda check: check.__name__[5:])
def test_as_of_any_model(client: Client, check: Callable[[Client], None]) -> None:
    check(client)


@pytest.mark.parametrize("check", ITSELF, ids=lambda check: check.__name__[5:])
def test_scores_are_the_models_own(client: Client, oracle: Oracle, check: Any) -> None:
    check(client, oracle)


@pytest.mark.parametrize("new", [1, 8])
def test_the_answer_is_the_likelier_of_both(client: Client, voices: list[Oracle], new: int) -> None:
    won = set()
    for prompt in PROMPTS:
        told = [spoken(voice, prompt, new) for voice in voices]
        best = max(range(2), key=lambda place: told[place][0])
        assert abs(told[0][0] - told[1][0]) > 1e-3, "too near to tell"
        answer = client.process(prompt, max_new_tokens=new)
        assert [token["text"] for token in answer["tokens"]] == told[best][1]
        assert [token["logprob"] for token in answer["tokens"]] == pytest.approx(
            told[best][2], abs=1e-4
        )
        won.add(best)
    assert won == {0, 1}, "one adapter always wins: this test shows nothing"


def test_helm_s_eight_fields(client: Client, voices: list[Oracle]) -> None:
    answer = checked(client.post("/process", test_process.HELM))
    (token,) = answer["tokens"]
    rows = [
        voice.logprobs(list(voice.text.encode_prompt(str(test_process.HELM["prompt"])).ids))[-1]
        for voice in voices
    ]
    assert token["logprob"] == pytest.approx(max(float(row.max()) for row in rows), abs=1e-4)
    assert max(token["top_logprob"].values()) == token["logprob"]
    assert len(token["top_logprob"]) == 5


def test_a_stop_is_that_of_the_answer_given(client: Client) -> None:
    whole = client.process(PROMPT, max_new_tokens=8)["text"]
    answer = client.process(PROMPT, max_new_tokens=8, stop_sequences=[*"aeiou \n"])
    assert not set(answer["text"]) & set("aeiou \n")
    assert answer["text"] != whole or answer["finish_reason"] != "stop"


@pytest.mark.parametrize("fields", [{}, {"n": 2, "temperature": 1}], ids=str)
def test_openai_s_routes(client: Client, oracle: Oracle, fields: dict[str, Any]) -> None:
    api = test_openai.connect(client)
    test_openai.test_a_completion_is_what_process_gives(api, client)
    test_openai.test_a_stream_is_the_answer_in_parts(api, fields)
    test_openai.test_echo_and_logprobs_are_those_of_a_forward_pass(api, oracle)


def test_its_cost_is_counted(client: Client) -> None:
    def counts() -> dict[str, float]:
        text = requests.get(client.server.url + "/metrics", timeout=10).text
        return {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if "ensemble_extra" in sample.name or "new_tokens" in sample.name
        }

    before = counts()
    answer = client.process(PROMPT, max_new_tokens=4)
    after = {name: value - before[name] for name, value in counts().items()}
    extra = after["oneday_ensemble_extra_new_tokens_total"]
    assert after["oneday_ensemble_extra_requests_total"] == 1
    assert after["oneday_ensemble_extra_prompt_tokens_total"] == len(client.tokenize(PROMPT))
    assert after["oneday_new_tokens_total"] >= len(answer["tokens"]) + extra


def test_prompts_of_all_kinds(client: Client) -> None:
    for fields in ({}, {"echo_prompt": True}, {"max_new_tokens": 0}):
        test_prompts.test_empty_prompt(client, fields)
    for prompt in ("\n\n", "\u202eright to left", "{prompt} {x} %s"):
        test_prompts.test_any_text_is_echoed_as_sent(client, prompt)
