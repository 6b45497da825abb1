"""lm-eval's samples: what each question scored, and the difference of two models over them."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.files import read_json
from tools.score.difference import Difference, paired

_NAME = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT.*\.jsonl")
_SAME = 1e-6  # a mean over samples that is further from the figure is not what lm-eval reports
Key = tuple[str, str]  # a task and its metric, as ``lm_scores`` names it
Values = dict[tuple[str, ...], float]  # by task, number and content of a question
Answered = dict[Key, Values]


def answered(folder: Path) -> Answered:
    """What each question scored, by task and metric; of a group, the questions of all its tasks.

    Args:
        folder: in which lm-eval left its samples.
    """
    found: dict[Key, Values] = defaultdict(dict)
    for file in sorted(folder.rglob("samples_*.jsonl")):
        if named := _NAME.fullmatch(file.name):
            for key, question, value in _read(file, named["task"]):
                found[key][question] = value
    for group, tasks in _groups(folder).items():
        for (task, metric), values in list(found.items()):
            if task in tasks:
                found[group, metric] = {**found.get((group, metric), {}), **values}
    return dict(found)


def _read(file: Path, task: str) -> Iterator[tuple[Key, tuple[str, ...], float]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        sample: dict[str, Any] = json.loads(line)
        question = (task, str(sample.get("doc_id")), str(sample.get("doc_hash")))
        for metric in sample.get("metrics", []):
            kind, value = sample.get("filter", "none"), sample.get(metric)
            if isinstance(value, int | float):
                yield (task, metric if kind == "none" else f"{metric}:{kind}"), question, value


def _groups(folder: Path) -> dict[str, set[str]]:
    """The tasks that each group is made of, those of its groups among them."""
    files = sorted(folder.rglob("results_*.json"), key=lambda path: path.name)
    told = (read_json(files[-1]) if files else None) or {}
    members: dict[str, list[str]] = told.get("group_subtasks", {})

    def leaves(name: str) -> set[str]:
        return set().union(*map(leaves, members.get(name, []))) or {name}

    return {name: leaves(name) for name, inner in members.items() if inner}


def difference(key: Key, both: tuple[Answered, Answered], change: float) -> Difference | None:
    """What the tuned model has more, with its interval.

    None where a figure is no mean over questions, a perplexity say, or a mean over tasks that
    weigh otherwise than by their questions.

    Args:
        key: the task and the metric.
        both: of base and tuned, as ``answered`` gives them.
        change: by lm-eval's own figures.
    """
    before, after = (each.get(key, {}) for each in both)
    shared = sorted(before.keys() & after.keys())
    found = paired({key[0]: [(before[one], after[one]) for one in shared]})
    return found if found and abs(found.mean - change) <= _SAME else None
