"""What HELM wrote of each question: its value, its prompt, the answer.

A run spec's folder holds ``per_instance_stats.json`` and ``scenario_state.json``; these two are
read, as ``helm-run`` leaves them, so a summary need not have been made.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.evaluate.helm.log import plain
from tools.score.per_question import questions, states, values

__all__ = ["Answer", "answers", "base", "folders", "questions", "scenario", "values"]

_RUNS = "benchmark_output/runs"


@dataclass(frozen=True)
class Answer:
    """One question as it was asked and answered.

    Attributes:
        question: the instance's own text, without examples.
        prompt: what was sent.
        wanted: the references that are right.
        text: what came back, or the chosen reference where each was scored.
        read_as: the choice that the text stands for; empty when it stands for none.
    """

    question: str
    prompt: str
    wanted: tuple[str, ...]
    text: str
    read_as: str


def scenario(name: str) -> str:
    """What a run spec is counted under: its name without arguments; of ours, each skill."""
    head = base(name)
    skill = re.search(r"\bskill=([^,]*)", name)
    return f"{head}: {skill[1]}" if head == "oneday" and skill else head


def base(name: str) -> str:
    """A run spec's name without its arguments."""
    return re.split("[:,]", name, maxsplit=1)[0]


def folders(evaluation: Path) -> dict[str, Path]:
    """The run specs' folders of an evaluation, by plain name."""
    found = sorted(path.parent for path in evaluation.glob(f"{_RUNS}/*/*/per_instance_stats.json"))
    return {plain(path.name): path for path in found}


def answers(folder: Path, wanted: set[str]) -> dict[str, Answer]:
    """Prompts and answers of some instances, of their first trial.

    Args:
        folder: of a run spec.
        wanted: ids of instances.
    """
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for state in states(folder):
        if state["instance"].get("id") in wanted:
            found[state["instance"]["id"]].append(state)
    return {instance: _answer(each) for instance, each in found.items()}


def _answer(requests: list[dict[str, Any]]) -> Answer:
    """Of an instance's requests, one for each reference where each was scored, the best."""
    first = requests[0]
    references = first["instance"]["references"]
    by_reference = [state for state in requests if state.get("reference_index") is not None]
    # A request that failed has no score; any it were given might beat the others'.
    scored = [state for state in by_reference if _completion(state).get("logprob") is not None]
    chosen = max(scored, key=lambda state: _completion(state)["logprob"], default=None)
    if chosen is not None:
        text = read_as = references[chosen["reference_index"]]["output"]["text"]
    else:
        text = _completion(first).get("text", "")
        read_as = (first.get("output_mapping") or {}).get(text.strip(), "")
    return Answer(
        question=first["instance"]["input"].get("text", ""),
        prompt=(chosen or first)["request"].get("prompt", ""),
        wanted=tuple(r["output"]["text"] for r in references if "correct" in r.get("tags", [])),
        text=text,
        read_as=read_as,
    )


def _completion(state: dict[str, Any]) -> dict[str, Any]:
    found: list[dict[str, Any]] = (state.get("result") or {}).get("completions") or [{}]
    return found[0]
