"""How two models' next tokens differ on the same rows: perplexity, KL divergence, top-1 agreement.

The two need not be in memory at once: what the first says is kept in a file, which the second is
held against. A place's log-probabilities are written as float16, whose rounding moves a KL by less
than a thousandth of it; the file has at most ``MOST`` places, 0.4 GB of 50,000 words.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from tools.console import each
from tools.data.tokens import Row
from tools.stages.asking import CAUSAL, Asking

MOST = 4096  # places whose whole distributions are compared


@dataclass(frozen=True)
class Told:
    """What a model says of one row.

    Attributes:
        loss: negative log-likelihood over the labels, nats.
        labels: how many there are.
        best: the likeliest token at each place that is compared whole.
    """

    loss: float
    labels: int
    best: list[int]


@dataclass(frozen=True)
class Apart:
    """What a second model says of the row, and how far that is from the first.

    Attributes:
        loss: as in ``Told``.
        kl: sum over the places of KL(first || second), nats.
        same: places at which both take the same token for the likeliest.
        places: how many were compared.
    """

    loss: float
    kl: float
    same: int
    places: int


def places(data: list[Row], most: int = MOST, ask: Asking = CAUSAL) -> list[list[int]]:
    """The places of each row whose distributions are compared: evenly, ``most`` in all at most.

    Args:
        data: token ids and labels.
        most: places of all rows.
        ask: how the model's kind is asked.

    Returns:
        By row, indices into its tokens that are to be told, as ``ask.wanted`` lists them.
    """
    counts = [len(ask.wanted(row)) for row in data]
    step = max(1, math.ceil(sum(counts) / most))
    return [list(range(0, count, step)) for count in counts]


def record(
    net: Any, data: list[Row], file: IO[bytes], label: str, ask: Asking = CAUSAL
) -> list[Told]:
    """Ask the first model; its log-probabilities go to ``file``.

    Args:
        net: a model.
        data: token ids and labels.
        file: written to: float16 [places of all rows, vocabulary].
        label: for the progress bar.
        ask: how its kind is asked.
    """
    told = []
    for (logits, wanted), chosen in zip(
        _logits(net, data, label, ask), places(data, ask=ask), strict=True
    ):
        said = logits[chosen].log_softmax(-1)
        said.half().cpu().numpy().tofile(file)
        told.append(Told(_loss(logits, wanted), len(wanted), said.argmax(-1).tolist()))
    file.flush()
    return told


def compare(
    net: Any,
    data: list[Row],
    told: list[Told],
    file: IO[bytes],
    label: str,
    ask: Asking = CAUSAL,
) -> list[Apart]:
    """Ask the second model, and hold it against the first.

    Args:
        net: a model.
        data: the very rows that the first was asked.
        told: what the first said.
        file: its log-probabilities.
        label: for the progress bar.
        ask: how its kind is asked.
    """
    file.seek(0)
    apart = []
    for (logits, wanted), chosen, first in zip(
        _logits(net, data, label, ask), places(data, ask=ask), told, strict=True
    ):
        own = logits[chosen].log_softmax(-1)
        same = sum(a == b for a, b in zip(first.best, own.argmax(-1).tolist(), strict=True))
        kl = _kl(_read(file, own), own)
        apart.append(Apart(_loss(logits, wanted), kl, same, len(chosen)))
    return apart


def mean_loss(net: Any, data: list[Row], label: str, ask: Asking = CAUSAL) -> float:
    """What a model loses on a token of the rows that is to be told, nats: eval_loss.

    Args:
        net: a model.
        data: token ids and labels.
        label: for the progress bar.
        ask: how its kind is asked.
    """
    told = [
        (_loss(logits, wanted), len(wanted)) for logits, wanted in _logits(net, data, label, ask)
    ]
    return math.fsum(loss for loss, _ in told) / max(sum(count for _, count in told), 1)


def _logits(net: Any, data: list[Row], label: str, ask: Asking) -> Iterator[tuple[Any, Any]]:
    """By row, fp32 logits [labels, vocabulary] and the tokens that come next there."""
    import torch

    for row in each(data, len(data), label, "row"):
        logits = ask.logits(net, row)
        yield logits, torch.tensor(ask.wanted(row), dtype=torch.long, device=logits.device)


def _loss(logits: Any, wanted: Any) -> float:
    import torch

    return float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))


def _read(file: IO[bytes], like: Any) -> Any:
    """The next row's log-probabilities, shaped as the other's, made to sum to one again."""
    import numpy
    import torch

    stored = numpy.fromfile(file, numpy.float16, like.numel()).reshape(like.shape)
    return torch.from_numpy(stored).to(like.device).float().log_softmax(-1)


def _kl(first: Any, second: Any) -> float:
    """Sum over places of KL(first || second), from log-probabilities.

    What is impossible to the first adds nothing, whatever the second says.
    """
    import torch

    each_kl = torch.where(first > -torch.inf, first.exp() * (first - second), 0.0)
    return float(each_kl.sum())


def perplexity(losses: float, labels: int) -> float:
    """Exp of the mean loss; infinite, where that is larger than a float."""
    mean = losses / max(labels, 1)
    return math.exp(mean) if mean < 700 or math.isnan(mean) else math.inf
