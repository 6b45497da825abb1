"""The contract, asked of models that are no causal ones: the same checks, and what they refuse.

A T5 and a BERT in every run; BART (byte-level, its own end for every answer) and ALBERT (Unigram,
uncased) in ``make test-all``; others where ``ONEDAY_CONTRACT_FAMILIES`` names them, by commas, as
``tests.family_matrix`` does.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
import requests

from serve.text import Detokenizer, TextCodec
from tests import kin
from tests.contract import (
    test_openai,
    test_process,
    test_prompts,
    test_refusals,
    test_text_routes,
    test_together,
)
from tests.contract.conftest import Client, checked
from tests.contract.servers import together
from tests.serve.engine.families import Plain, plain_model, speaking
from tools.recipe.faults import nearest

ALWAYS, ALSO = ("t5", "bert"), ("bart", "albert")


def named() -> tuple[str, ...]:
    """The families that were asked for; none: those above."""
    found = tuple(filter(None, os.environ.get("ONEDAY_CONTRACT_FAMILIES", "").split(",")))
    for name in found:
        if name not in kin.FAMILIES:
            raise pytest.Collector.CollectError(
                f"ONEDAY_CONTRACT_FAMILIES: no family {name!r}{nearest(name, kin.FAMILIES)}; there "
                f"are {', '.join(kin.FAMILIES)}"
            )
    return found


NAMED = named()
FAMILIES = NAMED or (*ALWAYS, *ALSO)
SERVED = FAMILIES if NAMED or "ONEDAY_TEST_ALL" in os.environ else ALWAYS
PROMPT = test_process.PROMPT


class Oracle(Plain):
    """The same model by transformers alone, asked as the causal ones' oracle is."""

    @property
    def barred(self) -> frozenset[str]:
        """No answers, yet maybe the likeliest: padding, to a random T5."""
        tokens = self.text.never_answered
        return frozenset(self.text.token_bytes(one, special=True).decode() for one in tokens)

    def ids(self, prompt: str) -> tuple[int, ...]:
        return self.text.encode_prompt(prompt).ids

    def greedy(self, prompt: str, new: int) -> list[int]:
        """The likeliest tokens, one plain pass each, without the end."""
        made: list[int] = []
        while len(made) < new:
            row = self.logprobs(self.ids(prompt), made)[-1].clone()
            row[list(self.text.never_answered)] = -1e9
            if int(row.argmax()) == self.text.eos_id:
                break
            made.append(int(row.argmax()))
        return made

    def scores(self, ids: list[int], start: int) -> list[float]:
        """Of ``ids[start:]``, an answer to the ids before it."""
        rows = self.logprobs(tuple(ids[:start]), ids[start:])
        return [float(row[token]) for row, token in zip(rows, ids[start:], strict=False)]

    def pieces(self, ids: list[int]) -> list[str]:
        """Texts of new tokens; the last has what is left of a split character."""
        detokenizer = Detokenizer(self.text, at_start=False)
        texts = [detokenizer.push(token) for token in ids]
        if texts:
            texts[-1] += detokenizer.flush()
        return texts


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[Any, Any]]]:
    """``served(family)``: a client of its server, and its oracle; all start together."""
    root = tmp_path_factory.mktemp("families")
    with together(root, SERVED, speaking) as servers:
        yield lambda family: (
            Client(servers[family]),
            Oracle(family, plain_model(family, root / family), TextCodec.load(root / family)),
        )


@pytest.fixture(scope="module", params=FAMILIES)
def asked(request: pytest.FixtureRequest, served: Any) -> tuple[Client, Any]:
    if request.param not in SERVED:
        pytest.skip("a slow one: make test-all asks it")
    pair: tuple[Client, Any] = served(request.param)
    return pair


#: Checks that need a client alone.
PLAIN = (
    test_process.test_health_check_of_the_organizers,
    test_process.test_the_published_document_s_fields,
    test_process.test_both_vocabularies_in_one_body,
    test_process.test_every_field_but_the_prompt_may_be_null,
    test_process.test_unknown_fields_are_ignored,
    test_process.test_candidates_per_token_are_no_sampling_limit,
    test_process.test_without_a_seed_answers_differ,
    test_process.test_several_completions_the_first_mirrored,
    test_process.test_several_greedy_completions_are_the_same,
    test_process.test_most_completions_at_once,
    test_process.test_the_last_seed_wraps_around,
    test_process.test_a_stop_may_span_tokens_and_is_cut_from_text_tokens_and_logprob,
    test_process.test_a_stop_inside_one_token,
    test_process.test_the_earliest_of_several_stops_wins,
    test_process.test_a_stop_at_the_very_start_leaves_nothing,
    test_process.test_many_and_long_stops,
    test_process.test_nothing_asked_nothing_given,
    test_process.test_new_tokens_only_without_echo,
    test_process.test_request_id_comes_back,
    test_process.test_json_has_no_nan_and_is_utf_8,
    test_text_routes.test_no_truncation_never_cuts,
    test_text_routes.test_default_is_to_cut_at_2048,
    test_text_routes.test_fields_of_the_answers,
    test_text_routes.test_every_kind_of_character,
    test_text_routes.test_long_texts,
    test_together.test_the_same_request_thirty_times,
    test_together.test_each_has_its_own_id,
    test_refusals.test_all_faults_at_once,
    test_refusals.test_one_bad_among_fifteen_good,
    test_refusals.test_half_a_request_harms_nobody,
)
#: Checks that also compare with the model itself.
COMPARED = (
    test_process.test_helm_s_eight_fields,
    test_process.test_greedy_tokens_and_scores_are_those_of_generate,
)


@pytest.mark.parametrize("check", PLAIN, ids=lambda check: check.__name__[5:])
def test_as_of_any_model(asked: tuple[Client, Any], check: Callable[[Client], None]) -> None:
    check(asked[0])


@pytest.mark.parametrize("check", COMPARED, ids=lambda check: check.__name__[5:])
def test_as_the_model_says(asked: tuple[Client, Any], check: Any) -> None:
    check(*asked)


@pytest.mark.parametrize("text", test_text_routes.TEXTS, ids=lambda text: repr(text)[:20])
def test_round_trip(asked: tuple[Client, Any], text: str) -> None:
    test_text_routes.test_round_trip(asked[0], text)


@pytest.mark.parametrize("seed", [0, 2**64 - 1, -(2**63)])
def test_a_seed(asked: tuple[Client, Any], seed: int) -> None:
    test_process.test_a_seed_makes_sampling_repeatable(asked[0], seed)


@pytest.mark.parametrize("temperature", [1.1e-5, 50.0, 1e300])
def test_extreme_temperatures(asked: tuple[Client, Any], temperature: float) -> None:
    test_process.test_extreme_temperatures_stay_finite(asked[0], temperature)


@pytest.mark.parametrize("fields", [{}, {"echo_prompt": True}, {"max_new_tokens": 0}], ids=str)
def test_empty_prompt(asked: tuple[Client, Any], fields: dict[str, Any]) -> None:
    client, oracle = asked
    answer = client.process("", **fields)
    assert bool(answer["tokens"]) == ("max_new_tokens" not in fields and bool(oracle.greedy("", 1)))


def test_thirty_at_once_are_answered_as_each_alone(
    asked: tuple[Client, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but those that ask for scores of a prompt, which there are none of."""
    bodies = [body for body in test_together.mixed() if body["max_new_tokens"]]
    assert len(bodies) == 25
    monkeypatch.setattr(test_together, "mixed", lambda: bodies)
    test_together.test_thirty_at_once_are_answered_as_each_alone(asked[0])


@pytest.mark.parametrize("words", [500, 513, 700, 3000])
def test_long_prompts_are_answered(asked: tuple[Client, Any], words: int) -> None:
    """Longer than every window: what does not fit is dropped, and said; never a failure."""
    client, oracle = asked
    prompt = "fox " * words
    answer = client.process(prompt, max_new_tokens=3)
    room = requests.get(client.server.url + "/health", timeout=10).json()["model"]["context"]
    # Counted: a byte-level vocabulary has several tokens a word.
    assert (answer["truncated_tokens"] > 0) == (len(oracle.ids(prompt)) + 3 > room)


@pytest.mark.parametrize("new", [1, 4])
def test_an_echo_has_the_text(asked: tuple[Client, Any], new: int) -> None:
    client, _ = asked
    for prompt in (PROMPT, "  Two\n\nlines , Café 東京 "):
        answer = client.process(prompt, echo_prompt=True, max_new_tokens=new)
        assert answer["text"].startswith(prompt)
        made = len(client.process(prompt, max_new_tokens=new)["tokens"])
        echoed = answer["tokens"][: len(answer["tokens"]) - made]
        assert "".join(token["text"] for token in echoed) == prompt
        assert {token["logprob"] for token in echoed} == {0.0}


def test_scores_of_a_prompt_are_refused(asked: tuple[Client, Any]) -> None:
    """They say why, and where in the body it is asked for."""
    client, _ = asked
    body = {"prompt": PROMPT, "echo_prompt": True, "max_new_tokens": 0}
    response = client.post("/process", body)
    assert response.status_code == 422
    (fault,) = response.json()["detail"]
    assert fault["loc"] == ["body", "max_new_tokens"]
    assert "asks for the logprobs of the prompt: " in fault["msg"]
    api = test_openai.connect(client)
    with pytest.raises(openai.BadRequestError, match="no probability for") as caught:
        api.completions.create(model="m", prompt=PROMPT, max_tokens=1, echo=True, logprobs=1)
    assert caught.value.param == "echo"
    made = api.completions.create(model="m", prompt=PROMPT, max_tokens=0, echo=True)
    assert made.choices[0].text == PROMPT


def test_openai_s_completions(asked: tuple[Client, Any]) -> None:
    client, oracle = asked
    api = test_openai.connect(client)
    test_openai.test_a_completion_is_what_process_gives(api, client)
    test_openai.test_a_stream_is_the_answer_in_parts(api, {"n": 2, "temperature": 1})
    ids = list(oracle.ids(PROMPT))
    made = api.completions.create(model="m", prompt=ids, max_tokens=4, temperature=0, logprobs=2)
    assert made.choices[0].text == client.process(PROMPT, max_new_tokens=4)["text"]
    assert made.usage and made.usage.prompt_tokens == len(ids)


def test_health_tells_what_it_is(asked: tuple[Client, Any]) -> None:
    client, oracle = asked
    model = requests.get(client.server.url + "/health", timeout=10).json()["model"]
    kind = "seq2seq" if oracle.family in kin.SEQ2SEQ else "masked"
    assert model["engine"] == kind and "no probability" in model["unscored"]
    assert checked(client.post("/process", {"prompt": "x", "max_new_tokens": 1}))


def test_equal_prompts_are_counted(asked: tuple[Client, Any]) -> None:
    client, _ = asked
    prompt = "the same question, twice"
    client.process(prompt, temperature=1.0, num_samples=4, seed=1)
    text = requests.get(client.server.url + "/metrics", timeout=10).text
    (line,) = [line for line in text.splitlines() if line.startswith("oneday_prefix_hits_total")]
    assert float(line.split()[1]) >= 3


def test_special_tokens_in_a_prompt_are_text(asked: tuple[Client, Any]) -> None:
    for prompt in ("<s>The", "a</s>b", "[MASK] [SEP]", "<mask>"):
        test_prompts.test_any_text_is_echoed_as_sent(asked[0], prompt)
