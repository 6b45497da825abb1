"""Perplexity of a causal model on tokenized rows."""

from typing import Any

from tools.console import each
from tools.data.tokens import IGNORED, Row


def perplexity(net: Any, data: list[Row], label: str) -> float:
    """Exp of the mean negative log-likelihood over all labelled tokens of ``data``."""
    import torch

    total, count = 0.0, 0
    with torch.inference_mode():
        for ids, labels in each(data, len(data), label, "row"):
            logits = net(torch.tensor([ids], device=net.device)).logits[0, :-1].float()
            wanted = torch.tensor(labels[1:], device=net.device)
            # What is IGNORED, its default ignore_index, adds nothing to this sum.
            total += torch.nn.functional.cross_entropy(logits, wanted, reduction="sum").item()
            count += int((wanted != IGNORED).sum())
    return float(torch.tensor(total / count, dtype=torch.float64).exp())  # inf, not OverflowError
