"""Completions as the worker answers them: JSON-ready values."""

import math
from typing import Any

from serve.engine.base import GenResult, GenToken
from serve.overflow import Fitted


def render(
    results: list[GenResult], num_samples: int, dropped: int, seconds: float
) -> dict[str, Any]:
    """The answer as ``serve.contract.ProcessResponse`` describes it, JSON-ready.

    Args:
        results: the completions that differ; a single one stands for all ``num_samples``.
        num_samples: how many were asked for.
        dropped: prompt tokens cut off.
        seconds: time taken.
    """
    completions = [_completion(result) for result in results]
    answer = {**completions[0], "request_time": seconds, "truncated_tokens": dropped}
    if num_samples > 1:
        answer["completions"] = completions * (num_samples // len(completions))
    return answer


def openai_details(fitted: Fitted, results: list[GenResult]) -> dict[str, Any]:
    """What the answer to a job with ``openai`` has beside: tokens counted, and what ended it."""
    own = [result.end if result.finish_reason == "eos" else None for result in results]
    return {
        "prompt_tokens": len(fitted.prompt.ids),
        "new_tokens": [len(result.tokens) for result in results],
        "ends": [_token(end) if end else None for end in own],
    }


def _completion(result: GenResult) -> dict[str, Any]:
    tokens = (*result.prompt, *result.tokens)
    return {
        "text": "".join(token.text for token in tokens),
        "tokens": [_token(token) for token in tokens],
        "logprob": math.fsum(token.logprob for token in tokens),
        "finish_reason": result.finish_reason,
    }


def _token(token: GenToken) -> dict[str, Any]:
    best: dict[str, float] = {}
    for text, logprob in token.candidates:
        best.setdefault(text, logprob)  # parts of characters share the text U+FFFD: the likeliest
    return {"text": token.text, "logprob": token.logprob, "top_logprob": best}
