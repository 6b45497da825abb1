"""Several adapters asked the same: what is asked of the engine, which answer is given, its cost."""

import dataclasses
import math
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from serve.config import Match, Rule
from serve.engine.base import GenRequest, GenResult, GenToken
from serve.ensemble import MOST, Cost, asked, faults, score
from serve.rules import Plan, Rules
from serve.text import TextCodec
from tests.serve.test_worker import FakeEngine, answer, job, report, worker


def said(*tokens: tuple[str, float], finish: Any = "length", end: float | None = None) -> GenResult:
    made = tuple(GenToken(7, text, logprob, (), text) for text, logprob in tokens)
    return GenResult(made, finish, end=None if end is None else GenToken(2, "</s>", end, ()))


def plan_of(rule: Rule) -> Plan:
    plan = Rules({"both": rule}).pick("2 + 2?", 5)
    assert plan
    return plan


BOTH = Rule(ensemble=["one", ""])


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (said((" B", -0.5)), -0.5),
        (said((" B", -0.5), (".", -1.5)), -1.0),
        (said((" B", -0.5), finish="eos", end=-1.5), -1.0),
        (said((" B", -0.5), finish="stop", end=-1.5), -0.5),
        (said(), -math.inf),
        (said(finish="eos", end=-3.0), -3.0),
    ],
)
def test_the_score_is_the_mean_of_what_is_given(result: GenResult, expected: float) -> None:
    assert score(result) == pytest.approx(expected)


def test_text_that_a_rule_adds_has_no_part_in_it() -> None:
    plan = plan_of(Rule(ensemble=["one", ""], cut=["Q"], extract="([A-D])", format="It is {x}."))
    finished, _ = plan.finish(said((" ", -3.0), ("B", -0.5), ("Q", -9.0)))
    assert "".join(token.text for token in finished.tokens) == "It is B."
    assert score(finished) == pytest.approx(-0.5)


def test_each_adapter_is_asked_each_completion() -> None:
    alone = [GenRequest("j-0", (1,), seed=3), GenRequest("j-1", (1,), seed=4)]
    made = asked(alone, plan_of(BOTH))
    said = [(one.adapter, one.seed) for one in made]
    assert said == [("one", 3), (None, 3), ("one", 4), (None, 4)]
    assert len({one.id for one in made}) == 4
    assert asked(alone, plan_of(Rule(adapter="one"))) == asked(alone, None) == alone


def test_the_best_of_each_completion_is_chosen_and_the_rest_is_counted() -> None:
    cost, plan = Cost(), plan_of(BOTH)
    low, high = said((" A", -2.0), (".", -2.0)), said((" B", -1.0))
    assert cost.choose([low, high, high, low], plan, prompt=10) == [high, high]
    assert cost.choose([low, low], plan, prompt=10) == [low], "of equals the first"
    assert cost.figures() == {
        "answers": [["both", "", 1], ["both", "one", 2]],
        "requests": 3,
        "prompt_tokens": 30,
        "new_tokens": 6,
    }


def test_what_a_rule_cuts_off_does_not_count() -> None:
    plan = plan_of(Rule(ensemble=["one", ""], cut=["\n"]))
    short, long = said((" A", -1.0)), said((" B", -0.5), ("\n", -0.1), ("Q", -9.0))
    assert Cost().choose([short, long], plan, prompt=1) == [long]


class Choir(FakeEngine):
    """Answers by adapter."""

    def __init__(self, text: TextCodec, answers: dict[str | None, GenResult]) -> None:
        super().__init__(text, None)
        self._answers = answers

    def submit(self, request: GenRequest) -> Future[GenResult]:
        self.requests.append(request)
        future: Future[GenResult] = Future()
        future.set_result(self._answers[request.adapter])
        return future


@pytest.fixture
def choir(codecs: dict[str, TextCodec]) -> Callable[..., Choir]:
    def made(own: GenResult | None = None, **answers: GenResult) -> Choir:
        return Choir(codecs["byte_level"], answers | ({None: own} if own else {}))

    return made


RULES = {"both": Rule(Match(prompt="Answer:"), ensemble=["one", "two"], cut=["\n"])}


def test_the_worker_gives_the_likeliest(choir: Callable[..., Choir]) -> None:
    two = said((" B", -0.5), ("\n", -9.0))
    engine = choir(one=said((" A", -2.0)), two=two, own=said((" C", -9.0)))
    built = worker(engine, rules=RULES)
    made = answer(built, job("1+1? Answer:", max_new_tokens=2))
    assert (made["text"], made["logprob"]) == (" B", -0.5)
    assert [request.adapter for request in engine.requests] == ["one", "two"]
    figures = report(built)["figures"]
    assert figures["ensembles"]["answers"] == [["both", "two", 1]]
    length = len(engine.requests[0].prompt)
    assert [figures["ensembles"][name] for name in ("requests", "prompt_tokens", "new_tokens")] == [
        *(1, length, 1)
    ]
    hits = {(step, count) for _, step, count in figures["rule_hits"]}
    assert hits == {("match", 1), ("cut", 1)}, "only what is given is counted"
    assert answer(built, job("1+1?", max_new_tokens=2))["text"] == " C"
    assert report(built)["figures"]["ensembles"]["requests"] == 1


def test_samples_are_chosen_one_by_one(choir: Callable[..., Choir]) -> None:
    engine = choir(one=said((" A", -2.0)), two=said((" B", -0.5)))
    built = worker(engine, rules=RULES)
    made = answer(built, job("Answer:", max_new_tokens=1, temperature=1.0, seed=4, num_samples=3))
    assert [one["text"] for one in made["completions"]] == [" B"] * 3
    assert [request.seed for request in engine.requests] == [4, 4, 5, 5, 6, 6]
    assert sorted(engine.cancelled) == sorted(request.id for request in engine.requests)


@pytest.mark.parametrize("fields", [{"echo_prompt": True}, {"max_new_tokens": 0}])
def test_scores_of_a_prompt_are_the_models_own(
    choir: Callable[..., Choir], fields: dict[str, Any]
) -> None:
    engine = choir(one=said((" A", -2.0)), two=said((" B", -0.5)), own=said((" C", -9.0)))
    answer(worker(engine, rules=RULES), job("Answer:", **fields))
    assert [request.adapter for request in engine.requests] == [None]


FAULTS: list[tuple[Rule, dict[str, str]]] = [
    (Rule(), {}),
    (Rule(ensemble=["one", "two", ""]), {}),
    (Rule(ensemble=["one"]), {"ensemble": "has one member; write adapter: one"}),
    (Rule(ensemble=["one", ""], adapter="one"), {"ensemble": "stands beside adapter"}),
    (Rule(ensemble=["one", "onee"]), {"ensemble[1]": "has no onee; did you mean one?"}),
    (Rule(ensemble=["", "one", ""]), {"ensemble[2]": "the model itself is there twice"}),
    (Rule(ensemble=["two", "two"]), {"ensemble[1]": "two is there twice; remove one"}),
]


@pytest.mark.parametrize(("rule", "expected"), FAULTS)
def test_faults(rule: Rule, expected: dict[str, str]) -> None:
    found = dict(faults(rule, ["one", "two"]))
    assert list(found) == list(expected)
    for key, text in expected.items():
        assert text in found[key]


def test_a_list_may_be_too_long() -> None:
    names = [f"a{number}" for number in range(MOST + 1)]
    assert list(faults(Rule(ensemble=names[:-1]), names)) == []
    assert list(faults(Rule(ensemble=names), names)) == [
        ("ensemble", f"has {MOST + 1} members, at most {MOST}: each is asked all of a request")
    ]


def test_a_plan_says_who_is_asked() -> None:
    assert plan_of(BOTH).ensemble == ("one", None)
    assert plan_of(dataclasses.replace(BOTH, ensemble=[])).ensemble == ()
