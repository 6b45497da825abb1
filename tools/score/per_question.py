"""What HELM wrote of each question of a run spec: its value, its words.

``per_instance_stats.json`` and ``scenario_state.json`` are read as ``helm-run`` leaves them, so a
summary need not have been made.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.files import read_json
from tools.score.suites import INSTANCES

STATES = "scenario_state.json"
Pair = tuple[float, float]  # one question's values, of two who answered it


def values(folder: Path, metric: str, split: str) -> dict[str, float]:
    """A metric by instance, unperturbed, the mean over trials where there are several."""
    found: dict[str, list[float]] = defaultdict(list)
    for entry in read_json(folder / INSTANCES) or []:
        if _perturbed(entry):
            continue
        for stat in entry["stats"]:
            name = stat["name"]
            known = name["name"] == metric and name.get("split", split) == split
            if known and not _perturbed(name) and stat.get("mean") is not None:
                found[entry["instance_id"]].append(stat["mean"])
    return {instance: statistics.fmean(each) for instance, each in found.items()}


def questions(folder: Path) -> dict[str, str]:
    """The text of every instance, by its id.

    Args:
        folder: of a run spec.
    """
    instances = (state["instance"] for state in states(folder))
    return {each["id"]: each["input"].get("text", "") for each in instances if each.get("id")}


def states(folder: Path) -> Iterator[dict[str, Any]]:
    """Requests as they were meant: neither perturbed nor made to calibrate."""
    stored = read_json(folder / STATES) or {}
    for state in stored.get("request_states", []):
        calibrates = state.get("request_mode") == "calibration"
        if not calibrates and not _perturbed(state["instance"]):
            yield state


def pairs(folders: Sequence[Path], metric: str, splits: Sequence[str]) -> list[Pair]:
    """The values of the questions that two answered, in the order of their ids.

    A question is the same one where its id is and, as far as HELM's file of requests is there, its
    words are: rows that were made anew have the ids of the old ones. None of files that are
    damaged.

    Args:
        folders: of the run spec, of the one and of the other.
        metric: HELM's name.
        splits: the one that counts, in each.
    """
    try:
        one, other = (
            values(folder, metric, split) for folder, split in zip(folders, splits, strict=True)
        )
        both = sorted(one.keys() & other.keys())
        texts = [questions(folder) if both else {} for folder in folders]
    except (AttributeError, KeyError, TypeError, ValueError):
        return []
    same = [each for each in both if texts[0].get(each) == texts[1].get(each)]
    return [(one[each], other[each]) for each in same]


def _perturbed(entry: Mapping[str, Any]) -> bool:
    """Whether HELM misspelt or renamed something: its copies test robustness and fairness."""
    return bool((entry.get("perturbation") or {}).get("name", "identity") != "identity")
