"""How far one model's next tokens are from another's: mean KL divergence, top-1 agreement.

Logits are kept in a file of numpy's, float32 [positions, vocabulary], so that the two models are
never in memory together, and llama.cpp's may come from its own environment.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tools.data.tokens import IGNORED, Row

POSITIONS = 512  # of learnt tokens, the first: 0.1 GB with a vocabulary of 49,152
_AT_ONCE = 64


def wanted(rows: list[Row], most: int = POSITIONS) -> Iterator[tuple[list[int], list[int]]]:
    """Token ids of each row, and the places whose logits say what is learnt next.

    Args:
        rows: token ids and labels.
        most: places in all.
    """
    for ids, labels in rows:
        places = [i - 1 for i, label in enumerate(labels) if i and label != IGNORED][:most]
        most -= len(places)
        if places:
            yield ids, places


def write_logits(net: Any, rows: list[Row], path: Path) -> int:
    """Write a model's logits at the wanted places, and return how many.

    Args:
        net: of transformers, causal.
        rows: token ids and labels.
        path: the file.
    """
    import torch

    found = []
    with torch.inference_mode():
        for ids, places in wanted(rows):
            logits = net(torch.tensor([ids], device=net.device)).logits[0, places]
            found.append(logits.float().cpu().numpy())
    np.save(path, np.concatenate(found))
    return sum(map(len, found))


def compare(reference: Path, other: Path) -> tuple[float, float]:
    """Mean KL(reference || other) in nats, and the share of places with the same likeliest token.

    Args:
        reference: logits of the model that is right.
        other: the other's, at the same places; rows beyond the shorter vocabulary are left out.

    Raises:
        ValueError: they have not as many places.
    """
    one, two = np.load(reference, mmap_mode="r"), np.load(other, mmap_mode="r")
    if len(one) != len(two) or not len(one):
        raise ValueError(f"{len(one)} and {len(two)} places")
    width = min(one.shape[1], two.shape[1])
    total, same = 0.0, 0
    for begin in range(0, len(one), _AT_ONCE):
        p, q = (_log_softmax(each[begin : begin + _AT_ONCE, :width]) for each in (one, two))
        total += float((np.exp(p) * (p - q)).sum())
        same += int((p.argmax(1) == q.argmax(1)).sum())
    return total / len(one), same / len(one)


def _log_softmax(logits: Any) -> Any:
    wide = logits.astype(np.float64)
    wide -= wide.max(1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(1, keepdims=True))
