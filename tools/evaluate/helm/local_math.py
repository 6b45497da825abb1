"""HELM plug-in: MATH from two files, for the hub has it no more.

HELM's ``math`` loads the data set ``hendrycks/competition_math``, which was withdrawn from the hub
in January 2025. Whoever has a copy puts it below HELM's output folder as JSON lines, which this
gives to HELM instead; where they are not, HELM looks where it always did::

    scenarios/MATH/data/train.jsonl
    scenarios/MATH/data/test.jsonl
    {"problem": str, "level": "Level 1", "type": "Number Theory", "solution": str}

HELM sorts the problems and shuffles them with a seed, so the order of the lines does not matter.
The columns are those of the data set's own files (one JSON file a problem).
"""

# mypy: disable-error-code="misc, no-any-return, untyped-decorator"
# (HELM is not in the venv that mypy reads: all it gives is Any there.)

import json
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from helm.benchmark.scenarios import math_scenario

COLUMNS = ("problem", "level", "type", "solution")

_helms = math_scenario.load_dataset


def rows(file: Path) -> list[dict[str, str]]:
    """The problems of a file.

    Raises:
        ValueError: a line is no JSON object with the four columns; says which.
    """
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            found.append({name: str(row[name]) for name in COLUMNS})
        except (ValueError, KeyError, TypeError) as error:
            columns = ", ".join(COLUMNS)
            raise ValueError(f"{file}:{number}: no JSON object with {columns} ({error})") from None
    return found


def load(path: str, *args: Any, cache_dir: str = "", **options: Any) -> Any:
    """In place of ``datasets.load_dataset``: our files, where they are."""
    files = {split: Path(cache_dir) / f"{split}.jsonl" for split in ("train", "test")}
    if all(file.is_file() for file in files.values()):
        return DatasetDict({split: Dataset.from_list(rows(file)) for split, file in files.items()})
    return _helms(path, *args, cache_dir=cache_dir, **options)


math_scenario.load_dataset = load  # there: it was imported by name
