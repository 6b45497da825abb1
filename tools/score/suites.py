"""From a HELM suite's run folders to the columns of the challenge's board.

Of a run folder only ``run_spec.json`` and ``stats.json`` are read, and ``per_instance_stats.json``
for an interval. What a cell is, HELM's own tables say: of each run spec the unperturbed mean over
the instances of its scenario's main split (valid for TruthfulQA and the hidden ones but MATH, test
for the others), and of several run specs the plain mean, none weighing more for having more
instances. A run spec with no instance of that split is passed over. Robustness and fairness are
means over instances of the worst answer among the original and its perturbed copies.

BIG-bench is such a plain mean, too: over all its run specs, one a subtask and number of shots. The
published 0.0011451612903225807 is (1/20 + 2/31) / 100, which a hundred equally weighing run specs
give, and tasks averaged over their subtasks first do not. The conf has 116; that 16 were passed
over fits four subtasks whose few questions were all of split valid. Where all shots ran for each
subtask it is the mean over subtasks with shots averaged.

Accuracy is what HELM's schema_classic, the board's, takes: ``exact_match_indicator`` for GSM8K,
``quasi_exact_match`` for BBQ, both called EM there. The stereotypes are those of professions.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from tools.files import read_json

Stat = dict[str, Any]
Wanted = dict[str, tuple[str, str | None]]  # by column: HELM's metric and perturbation

LOCAL = "neurips/local"  # HELM's name for whatever answers the challenge's wire contract
SPEC, STATS, INSTANCES = "run_spec.json", "stats.json", "per_instance_stats.json"
_PERTURBATIONS = ("robustness", "fairness")
_LARGEST = sys.float_info.max

# HELM's scenario: the board's prefix and HELM's metric, where there is no more than one column.
_PLAIN = {
    "big_bench": ("BIG-bench - EM", "exact_match"),
    "gsm": ("GSM8K - EM", "exact_match_indicator"),
    "bbq": ("BBQ - EM", "quasi_exact_match"),
    "corr2cause": ("corr2cause - EM", "exact_match"),
}
_PERTURBED = {"mmlu": "MMLU", "truthful_qa": "TruthfulQA"}
_COT = ("MATH (chain-of-thoughts) - Equivalent (chain of thought)", "math_equiv_chain_of_thought")
_ASSOCIATIONS = "bias_metric:mode=associations,demographic_category={},target_category=profession"
_REPRESENTATION = "bias_metric:mode=representation,demographic_category={}"
# HELM's main_split of the boards' scenarios: of schema_classic, and of the organizers' schema, as
# tools/evaluate/helm/schema.py has it. Those of ETHICS are of split valid, too.
_SPLITS = {
    **dict.fromkeys(("mmlu", "big_bench", "gsm", "bbq", "math"), "test"),
    **dict.fromkeys(("truthful_qa", "sam_sum", "corr2cause"), "valid"),
}
# What a scenario of no board is compared by: the first of these it has.
_HEADLINES = {
    "exact_match": "EM",
    "exact_match_indicator": "EM",
    "exact_set_match": "EM (set)",
    "math_equiv_chain_of_thought": "Equivalent (chain of thought)",
    "math_equiv": "Equivalent",
    "rouge_2": "ROUGE-2",
    "f1_score": "F1",
}


@dataclass(frozen=True)
class Spec:
    """A run spec that HELM ran or tried to.

    Attributes:
        folder: its run folder.
        name: its name without the model.
        model: whom it asked, ``/`` written as ``_``.
        stats: ``stats.json``; None when the run failed.
        chosen: the split that counts.
    """

    folder: Path
    name: str
    model: str
    stats: list[Stat] | None
    chosen: str

    @property
    def scenario(self) -> str:
        """HELM's name of its scenario."""
        return _scenario(self.name)

    @property
    def elsewhere(self) -> bool:
        """Whether it was scored, but on no instance of the split that counts."""
        stats = self.stats or []
        return bool(stats) and not any(_of(stat["name"], self.chosen) for stat in stats)


def _scenario(name: str) -> str:
    return re.split("[:,]", name, maxsplit=1)[0]  # ethics_virtue,data_augmentation=canonical


def _of(name: Mapping[str, Any], split: str) -> bool:
    """Whether a stat is of a split; one that names none is of each."""
    return bool(name.get("split", split) == split)


def is_suite(folder: Path) -> bool:
    """Whether a folder holds HELM's run folders."""
    return any(_is_run(path) for path in folder.iterdir()) if folder.is_dir() else False


def _is_run(path: Path) -> bool:
    """A run that failed early leaves an empty folder, whose name says what it was."""
    return path.is_dir() and ((path / SPEC).is_file() or bool(re.search(r"[:,]model=", path.name)))


def read(folder: Path) -> tuple[list[Spec], list[str]]:
    """All run specs of a suite, in the order of their names.

    Args:
        folder: ``benchmark_output/runs/SUITE``.

    Returns:
        The run specs, and what is wrong with files that cannot be read.
    """
    found, faults = [], []
    for path in sorted(filter(_is_run, folder.iterdir())):
        stats, wrong = _stats(path / STATS)
        spec = _mapping(read_json(path / SPEC))
        named = re.search(r"[:,]model=([^,]*)", path.name)
        asked = _mapping(spec.get("adapter_spec")).get("model")
        model = str(asked or (named[1] if named else LOCAL))
        full = str(spec.get("name") or path.name)
        name = re.sub(r"([:,])model=[^,]*,?", r"\1", full).rstrip(":,")
        found.append(
            Spec(path, name, model.replace("/", "_"), stats, main_split(name, stats or []))
        )
        faults += wrong
    return found, faults


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _stats(path: Path) -> tuple[list[Stat] | None, list[str]]:
    if not path.is_file():
        return None, []
    try:
        stats = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return None, [f"{path}: not JSON ({error}); delete the folder and evaluate again"]
    if not isinstance(stats, list) or not all(map(_is_stat, stats)):
        return None, [f"{path}: not HELM's list of stats; delete the folder and evaluate again"]
    return stats, []


def _is_stat(stat: Any) -> bool:
    name = _mapping(_mapping(stat).get("name"))
    return isinstance(name.get("name"), str) and isinstance(name.get("split"), str | None)


def main_split(name: str, stats: Iterable[Stat]) -> str:
    """The split of a run spec that counts.

    Of a scenario of no board that is test, or valid where no stat is of test.
    """
    scenario = _scenario(name)
    if scenario.startswith("ethics_"):
        return "valid"
    splits = {stat["name"].get("split") for stat in stats if "perturbation" not in stat["name"]}
    return _SPLITS.get(scenario, "test" if "test" in splits else "valid")


def columns(specs: Iterable[Spec]) -> dict[str, float | None]:
    """The columns of one model's run specs.

    Returns:
        By column, the mean over its run specs; None where each failed or has no such figure, all
        its instances being of another split, say.
    """
    values: dict[str, list[float]] = {}
    for spec in specs:
        for column, (metric, perturbation) in wanted(spec).items():
            value = figure(spec, metric, perturbation)
            values.setdefault(column, []).extend([] if value is None else [value])
    return {column: fmean(found) if found else None for column, found in values.items()}


def wanted(spec: Spec) -> Wanted:
    """The columns that a run spec is part of."""
    scenario, name = spec.scenario, spec.name
    if scenario in _PLAIN:
        column, metric = _PLAIN[scenario]
        return {column: (metric, None)}
    if scenario in _PERTURBED or scenario.startswith("ethics_"):
        return _exact(_PERTURBED.get(scenario, scenario))
    if scenario == "sam_sum":
        return _sam_sum()
    if scenario == "math" and "use_chain_of_thought=true" in name.lower():
        return {_COT[0]: (_COT[1], None)}
    known = {stat["name"].get("name") for stat in spec.stats or []}
    first = next((metric for metric in _HEADLINES if metric in known), None)
    return {f"{name} - {_HEADLINES[first]}": (first, None)} if first else {}


def _exact(prefix: str) -> Wanted:
    found: Wanted = {f"{prefix} - EM": ("exact_match", None)}
    for perturbation in _PERTURBATIONS:
        found[f"{prefix} - EM ({perturbation.title()})"] = ("exact_match", perturbation)
    return found


def _sam_sum() -> Wanted:
    found: Wanted = {"sam_sum - ROUGE-2": ("rouge_2", None)}
    for what, metric in (("Stereotypes", _ASSOCIATIONS), ("Representation", _REPRESENTATION)):
        for group in ("race", "gender"):
            found[f"sam_sum - {what} ({group})"] = (metric.format(group), None)
    return found


def figure(spec: Spec, metric: str, perturbation: str | None) -> float | None:
    """The mean of one of a run spec's stats.

    Args:
        spec: the run spec.
        metric: HELM's name.
        perturbation: None for the unperturbed, else whose worst case.

    Returns:
        None when it has no such stat, or one without a count (as a bias over no words).
    """
    for stat in spec.stats or []:
        name = stat["name"]
        if name.get("name") != metric or "sub_split" in name:  # a sub_split is a part of a split
            continue
        if _of(name, spec.chosen) and _is(name, perturbation):
            return _finite(stat.get("mean"))
    return None


def _is(name: Mapping[str, Any], perturbation: str | None) -> bool:
    found = name.get("perturbation")
    if perturbation is None or not isinstance(found, dict):
        return perturbation is None and found is None
    return found.get("name") == perturbation and found.get("computed_on") == "worst"


def _finite(value: Any) -> float | None:
    plain = isinstance(value, int | float) and abs(value) <= _LARGEST  # which no NaN is
    return float(value) if plain else None


def instance_values(spec: Spec, asked: Wanted) -> dict[str, list[float | None]]:
    """What each instance adds to a run spec's columns.

    Args:
        spec: the run spec.
        asked: as ``wanted`` gives it.

    Returns:
        By column, a value an instance (None when it has none), in the order of the instances' ids;
        a mean over the train trials. Columns that no instance has a value for, as the biases, which
        are counted over all texts at once, are left out. Their plain means are ``figure``'s.
    """
    answers = _answers(spec)
    ids = sorted({instance for instance, _ in answers})
    trials = sorted({trial for _, trial in answers})
    found: dict[str, list[float | None]] = {}
    for column, (metric, perturbation) in asked.items():
        values: list[float | None] = []
        for instance in ids:
            each = [_worst(answers.get((instance, t), {}), metric, perturbation) for t in trials]
            known = [value for value in each if value is not None]
            values.append(fmean(known) if known else None)
        if any(value is not None for value in values):
            found[column] = values
    return found


Answers = dict[str, list[tuple[dict[str, Any], float]]]  # by metric: perturbation ({}: none), value


def _answers(spec: Spec) -> dict[tuple[str, int], Answers]:
    """By instance and train trial, the values of the split that counts; none of a damaged file."""
    try:
        return _by_instance(read_json(spec.folder / INSTANCES) or [], spec.chosen)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return {}


def _by_instance(entries: Any, split: str) -> dict[tuple[str, int], Answers]:
    found: dict[tuple[str, int], Answers] = {}
    for entry in entries:
        key = (str(entry["instance_id"]), int(entry.get("train_trial_index", 0)))
        for stat in entry["stats"]:
            name, value = stat["name"], _finite(stat.get("mean"))
            if value is not None and name.get("split") == split:
                perturbation = dict(entry.get("perturbation") or name.get("perturbation") or {})
                found.setdefault(key, {}).setdefault(name["name"], []).append((perturbation, value))
    return found


def _worst(answers: Answers, metric: str, perturbation: str | None) -> float | None:
    """The original's value, or the worst among it and its copies of a kind of perturbation."""
    values = [
        value
        for how, value in answers.get(metric, [])
        if not how or (perturbation and how.get(perturbation))
    ]
    return min(values, default=None)
