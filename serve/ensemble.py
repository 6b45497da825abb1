"""Several adapters asked the same; the answer whose tokens are the likeliest is given.

An answer's score is the mean of its tokens' natural log-probabilities, each in the distribution of
the adapter that wrote it. Its tokens are those that the rule leaves after ``cut`` and ``extract``;
the model's own end counts as one where it ended the answer, text that the rule adds does not. So an
answer of one token has the score of that token, and a long one is not worse for being long. Of
equal scores the adapter named first has it.
"""

import dataclasses
import difflib
import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serve.config import Rule
from serve.engine.base import GenRequest, GenResult

if TYPE_CHECKING:  # rules.py asks here what is wrong with a list
    from serve.rules import Plan

#: Most adapters that one rule asks: each costs all tokens of a request again.
MOST = 8


def faults(rule: Rule, adapters: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with a rule's list of adapters: key relative to the rule, and what to do."""
    names = rule.ensemble
    if not names:
        return
    if rule.adapter is not None:
        yield "ensemble", "stands beside adapter, which asks one alone; leave one of the two out"
    if len(names) == 1:
        yield "ensemble", f"has one member; write adapter: {names[0]}, or name another beside it"
    if len(names) > MOST:
        said = f"has {len(names)} members, at most {MOST}: each is asked all of a request"
        yield "ensemble", said
    for place, name in enumerate(names):
        if name in names[:place]:
            yield f"ensemble[{place}]", f"{name or 'the model itself'} is there twice; remove one"
        elif name and name not in adapters:
            yield f"ensemble[{place}]", unknown(name, adapters)


def unknown(name: str, adapters: Collection[str]) -> str:
    """What is said of an adapter that is not there."""
    near = difflib.get_close_matches(name, adapters, n=1)
    remedy = f"did you mean {near[0]}?" if near else "name its folder there"
    return f"serve.adapters has no {name}; {remedy}"


def asked(requests: Sequence[GenRequest], plan: "Plan | None") -> list[GenRequest]:
    """The requests of a job; under a plan with several adapters one for each, side by side."""
    if not plan or not plan.ensemble:
        return list(requests)
    return [
        dataclasses.replace(request, id=f"{request.id}-{place}", adapter=adapter)
        for request in requests
        for place, adapter in enumerate(plan.ensemble)
    ]


def score(result: GenResult) -> float:
    """The mean log-probability of an answer, natural, per token; none at all is no one's best.

    Args:
        result: as it is given, after the rule's edits.
    """
    end = [result.end] if result.end and result.finish_reason == "eos" else []
    told = [token.logprob for token in [*result.tokens, *end] if token.id >= 0]
    return math.fsum(told) / len(told) if told else -math.inf


@dataclass
class Cost:
    """What ensembles have done and cost since the worker started.

    Attributes:
        answers: how often whose answer was given, by rule and adapter (empty: the model itself).
        requests: completions made and not given.
        prompt_tokens: of these; most adapters compute a prompt of their own.
        new_tokens: of these.
    """

    answers: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    requests: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0

    def choose(self, results: Sequence[GenResult], plan: "Plan", prompt: int) -> list[GenResult]:
        """Of each request's answers the best one.

        Args:
            results: in the order of :func:`asked`, as the engine gave them.
            plan: its ``finish`` says what of an answer is given.
            prompt: tokens of the prompt.
        """
        names, chosen = plan.ensemble, []
        for start in range(0, len(results), len(names)):
            told = results[start : start + len(names)]
            scores = [score(plan.finish(one)[0]) for one in told]
            best = scores.index(max(scores))
            chosen.append(told[best])
            self.answers[plan.name, names[best] or ""] += 1
            self.requests += len(told) - 1
            self.prompt_tokens += (len(told) - 1) * prompt
            self.new_tokens += sum(len(one.tokens) for one in told) - len(told[best].tokens)
        return chosen

    def figures(self) -> dict[str, Any]:
        """For /metrics, JSON-ready."""
        return {
            "answers": [[*key, count] for key, count in self.answers.items()],
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "new_tokens": self.new_tokens,
        }
