"""Completions as the worker answers them: JSON-ready values."""

import math
from dataclasses import replace
from typing import Any

from serve.engine.base import GenResult, GenToken
from serve.overflow import Fitted


def likeliest(results: list[GenResult], count: int) -> list[GenResult]:
    """The completions whose tokens are the likeliest on average, the best first (``best_of``).

    Args:
        results: in the order of their seeds; a single one stands for all.
        count: how many are wanted; all of them are left in their order.
    """
    if len(results) <= count:
        return results
    return sorted(results, key=_mean_logprob, reverse=True)[:count]


def _mean_logprob(result: GenResult) -> float:
    """Per token, the one that ended it included; a completion of no token is none's best."""
    tokens = [*result.tokens, *([result.end] if result.end else [])]
    if not tokens:
        return -math.inf
    return math.fsum(token.logprob for token in tokens) / len(tokens)


def echoed(result: GenResult, texts: tuple[str, ...]) -> GenResult:
    """The answer, its prompt's tokens with the texts that they stand for in the prompt.

    Args:
        result: an echo.
        texts: one for each token, see ``PromptTokens``; empty: the tokens have them already. Of a
            prompt that has no token at all (blanks only) its text, which no model can score.
    """
    if not texts:
        return result
    pairs = zip(result.prompt or [GenToken(-1, "", 0.0, ())], texts, strict=True)
    return replace(result, prompt=tuple(replace(token, text=text) for token, text in pairs))


def render(
    results: list[GenResult], num_samples: int, dropped: int, seconds: float, named: bool = False
) -> dict[str, Any]:
    """The answer as ``serve.contract.ProcessResponse`` describes it, JSON-ready.

    Args:
        results: the completions that differ; a single one stands for all ``num_samples``.
        num_samples: how many were asked for.
        dropped: prompt tokens cut off.
        seconds: time taken.
        named: each token also has its name among the candidates.
    """
    completions = [_completion(result, named) for result in results]
    answer = {**completions[0], "request_time": seconds, "truncated_tokens": dropped}
    if num_samples > 1:
        answer["completions"] = completions * (num_samples // len(completions))
    return answer


def openai_details(fitted: Fitted, results: list[GenResult]) -> dict[str, Any]:
    """What the answer to a job of /v1 has beside: tokens counted, and what ended it."""
    own = [result.end if result.finish_reason == "eos" else None for result in results]
    return {
        "prompt_tokens": len(fitted.prompt.ids),
        "new_tokens": [len(result.tokens) for result in results],
        "ends": [_token(end, named=True) if end else None for end in own],
    }


def _completion(result: GenResult, named: bool) -> dict[str, Any]:
    tokens = (*result.prompt, *result.tokens)
    return {
        "text": "".join(token.text for token in tokens),
        "tokens": [_token(token, named) for token in tokens],
        "logprob": math.fsum(token.logprob for token in tokens),
        "finish_reason": result.finish_reason,
    }


def _token(token: GenToken, named: bool) -> dict[str, Any]:
    name = {"name": token.name or token.text} if named else {}
    best = dict(token.candidates)  # no name is there twice
    return {"text": token.text, "logprob": token.logprob, "top_logprob": best} | name
