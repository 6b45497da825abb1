"""Rows that a quantizer looks at: of the run's own training data, drawn by its seed."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

from tools.data import tokens
from tools.files import digest
from tools.run.folder import Run


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Rows as they were trained on, each cut to ``quantize.max_seq_length``.

    Attributes:
        numbers: of the rows in the file of training rows, from 0, ascending.
        rows: their token ids.
        seed: they were drawn by.
    """

    numbers: list[int]
    rows: list[list[int]]
    seed: int

    def record(self) -> dict[str, Any]:
        """What tells them again."""
        return {
            "seed": self.seed,
            "rows": self.numbers,
            "tokens": sum(map(len, self.rows)),
            "sha256": digest(self.rows),
        }


def draw(run: Run, model: Path) -> Calibration:
    """As many rows as the recipe says, all where there are fewer.

    Args:
        run: its data stage must be done.
        model: whose tokenizer the rows are read with.
    """
    wanted, seed = run.recipe.quantize, run.recipe.data.seed
    file = tokens.files(run, model)["train"]
    with file.open(encoding="utf-8") as lines:
        there = sum(1 for _ in lines)
    count = min(wanted.num_calibration_samples, there)
    numbers = sorted(random.Random(seed).sample(range(there), count))
    chosen = set(numbers)
    with file.open(encoding="utf-8") as lines:
        read = [json.loads(line) for number, line in enumerate(lines) if number in chosen]
    return Calibration(numbers, [one["input_ids"][: wanted.max_seq_length] for one in read], seed)
