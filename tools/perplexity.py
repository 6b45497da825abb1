"""Perplexity of a causal model on the held-out rows that Axolotl validates on."""

import json
import math
from pathlib import Path
from typing import Any

from tools.console import each


def rows(path: Path, tokenizer: Any, count: int, context: int) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels (-100 where nothing is to be predicted) of the first ``count`` rows.

    Tokenized segment by segment as Axolotl's ``input_output`` does, so that the numbers compare.
    """
    found = []
    with path.open(encoding="utf-8") as file:
        for line in list(file)[:count]:
            ids: list[int] = []
            labels: list[int] = []
            for segment in json.loads(line)["segments"]:
                new = tokenizer(segment["text"], add_special_tokens=False)["input_ids"]
                ids += new
                labels += new if segment["label"] else [-100] * len(new)
            found.append((ids[:context], labels[:context]))
    return found


def perplexity(net: Any, data: list[tuple[list[int], list[int]]], label: str) -> float:
    """Exp of the mean negative log-likelihood over all labelled tokens of ``data``."""
    import torch

    total, count = 0.0, 0
    with torch.inference_mode():
        for ids, labels in each(data, len(data), label, "row"):
            logits = net(torch.tensor([ids], device=net.device)).logits[0, :-1].float()
            wanted = torch.tensor(labels[1:], device=net.device)
            total += torch.nn.functional.cross_entropy(logits, wanted, reduction="sum").item()
            count += int((wanted != -100).sum())
    return math.exp(total / count)
