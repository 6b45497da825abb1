"""The scores part: base beside tuned, by run spec and by scenario."""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.report.gathered.judged import helm
from tools.report.gathered.judged.paired import Score, judged, pair, together
from tools.report.gathered.source import Part, Source


def scores(source: Source) -> Part:
    """Base and tuned by run spec and by scenario, with the questions that changed hands.

    Every value has its 95 % interval under ``intervals`` (see ``interval.py``), null where the
    questions' own values are not at hand and the metric is no share of right answers.

    Raises:
        Missing: nothing was evaluated yet.
    """
    found = source.evaluated()
    names = sorted({name for each in found.values() for name in each})
    paths = {who: helm.folders(source.answers(who)) for who in found}
    specs = [_spec(name, found, paths) for name in names]
    groups: dict[str, list[Part]] = defaultdict(list)
    for spec in specs:
        groups[spec["scenario"]].append(spec)
    scenarios = [_scenario(name, each) for name, each in groups.items()]
    return {
        "models": list(found),
        "tier": _tier(source),
        "run_specs": specs,
        "scenarios": scenarios,
        "means": {
            "trained skills": _mean([s for s in specs if _trained(s["name"])]),
            "HELM's scenarios": _mean([s for s in specs if not _trained(s["name"])]),
        },
    }


def _tier(source: Source) -> str | None:
    for who in ("tuned", "base"):
        if record := source.run.record(f"eval_{who}"):
            return str(record["metrics"].get("tier"))
    return None


def graded(metric: str) -> bool:
    """Whether a metric knows more than right and wrong."""
    return not re.search("exact|equiv", metric)


def score_of(stored: Mapping[str, Any] | None, folder: Path | None) -> Score:
    """A model's figure in a run spec.

    Args:
        stored: the run spec's entry in ``scores.json``; None where there is none.
        folder: what HELM wrote of its questions; None where that is gone.
    """
    if stored is None:
        return Score(None, 0, False)
    values = helm.values(folder, stored["metric"], stored["split"]) if folder else {}
    return Score(stored["value"], stored["instances"], not graded(stored["metric"]), values)


def _spec(name: str, found: dict[str, dict[str, Any]], paths: dict[str, dict[str, Path]]) -> Part:
    """One run spec: both values, and which questions only one of the models answered."""
    base, tuned = (
        score_of(found.get(who, {}).get(name), paths.get(who, {}).get(name))
        for who in ("base", "tuned")
    )
    any_ = next(each[name] for each in found.values() if name in each)
    return {
        "name": name,
        "scenario": helm.scenario(name),
        "metric": any_["metric"],
        "instances": any_["instances"],
        "base": base.value,
        "tuned": tuned.value,
        **pair(base, tuned),
    }


def _scenario(name: str, specs: list[Part]) -> Part:
    """The mean over a scenario's run specs, as HELM's own tables take it."""
    metrics = {spec["metric"] for spec in specs}
    return {
        "scenario": name,
        "trained": _trained(name),
        "metric": metrics.pop() if len(metrics) == 1 else "several",
        "run_specs": len(specs),
        "instances": sum(spec["instances"] for spec in specs),
        **together(specs),
        **judged(specs),
    }


def _trained(name: str) -> bool:
    """Whether the run spec, or scenario, is of a skill that the rows teach."""
    return name.startswith("oneday:")


def _mean(specs: list[Part]) -> Part | None:
    """The mean over run specs, as ``make eval`` prints it."""
    return {"run_specs": len(specs), **together(specs)} if specs else None
