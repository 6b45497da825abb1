"""From logits to a token and its score: pure functions over tensors."""

import math
from dataclasses import dataclass

import torch

from serve.contract import GREEDY_TEMPERATURE, LOGPROB_FLOOR
from serve.engine.base import EngineError, GenRequest


@dataclass(frozen=True)
class Score:
    """One token's place in the model's own distribution.

    Attributes:
        logprob: natural log, ``LOGPROB_FLOOR`` to 0.
        candidates: (token id, logprob) of the likeliest tokens, best first.
    """

    logprob: float
    candidates: tuple[tuple[int, float], ...]


def check(logits: torch.Tensor) -> torch.Tensor:
    """The same logits.

    Raises:
        EngineError: some are NaN; no token could be chosen and no JSON written.
    """
    if bool(logits.isnan().any()):
        raise EngineError("the model's logits are not numbers (NaN): its weights are damaged")
    return logits


def _clamped(logprob: float) -> float:
    return min(max(logprob, LOGPROB_FLOOR), 0.0)


def score(logits: torch.Tensor, tokens: list[int], candidates: int) -> list[Score]:
    """Scores one token per row, before any temperature or truncation.

    Args:
        logits: ``[rows, vocabulary]``, any float type; read as float32.
        tokens: the token of each row.
        candidates: how many of the likeliest tokens to report, at most the vocabulary.
    """
    logprobs = logits.float().log_softmax(-1)
    index = torch.tensor(tokens, dtype=torch.long, device=logprobs.device)
    chosen = logprobs.gather(1, index[:, None])[:, 0].tolist()
    best = logprobs.topk(min(candidates, logprobs.shape[-1]), dim=-1)
    return [
        Score(
            _clamped(value), tuple((token, _clamped(top)) for token, top in zip(*row, strict=True))
        )
        for value, *row in zip(chosen, best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def generator(seed: int | None) -> torch.Generator:
    """A request's own random numbers, on the CPU: a seed means the same on every card."""
    numbers = torch.Generator()
    if seed is None:
        numbers.seed()
    else:
        numbers.manual_seed(seed)
    return numbers


def choose(logits: torch.Tensor, request: GenRequest, numbers: torch.Generator) -> int:
    """The next token: the likeliest, or one drawn as the request says.

    Args:
        logits: ``[vocabulary]``.
        request: its temperature, top_k and top_p.
        numbers: the request's generator.
    """
    if request.temperature <= GREEDY_TEMPERATURE:
        return int((logits == logits.max()).nonzero()[0])  # argmax may return any of several maxima
    scaled = logits.float().cpu() / request.temperature
    if 0 < request.top_k < scaled.numel():
        scaled = scaled.masked_fill(scaled < scaled.topk(request.top_k).values[-1], -math.inf)
    probabilities = scaled.softmax(-1)
    if request.top_p < 1:
        probabilities = _nucleus(probabilities, request.top_p)
    return int(torch.multinomial(probabilities, 1, generator=numbers))


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Zeroes all but the fewest likeliest tokens that hold ``top_p``; the best always stays."""
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(-1) - ordered
    dropped = before >= top_p
    dropped[0] = False
    return torch.zeros_like(probabilities).scatter(0, order, ordered.masked_fill(dropped, 0.0))
