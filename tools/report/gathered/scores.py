"""The scores part: base beside tuned, by run spec and by scenario."""

import math
import statistics
from collections import defaultdict
from typing import Any

from tools.report.gathered import helm
from tools.report.gathered.source import Part, Source

SURE = 0.05  # of the sign test; a difference that chance makes more often is called none


def scores(source: Source) -> Part:
    """Base and tuned by run spec and by scenario, with the questions that changed hands.

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


def _spec(name: str, found: dict[str, Any], paths: dict[str, Any]) -> Part:
    """One run spec: both values, and which questions only one of the models answered."""
    known = {who: scores[name] for who, scores in found.items() if name in scores}
    any_ = next(iter(known.values()))
    each = {
        who: helm.values(paths[who][name], any_["metric"], any_["split"])
        for who in known
        if name in paths[who]
    }
    return {
        "name": name,
        "scenario": helm.scenario(name),
        "metric": any_["metric"],
        "instances": any_["instances"],
        **{who: known[who]["value"] if who in known else None for who in ("base", "tuned")},
        **changed(each.get("base", {}), each.get("tuned", {})),
    }


def changed(base: dict[str, float], tuned: dict[str, float]) -> Part:
    """Number of questions that the tuned model answers better, and worse; None when not known."""
    both = base.keys() & tuned.keys()
    if not both:
        return {"gained": None, "lost": None}
    return {
        "gained": sum(tuned[instance] > base[instance] for instance in both),
        "lost": sum(tuned[instance] < base[instance] for instance in both),
    }


def _scenario(name: str, specs: list[Part]) -> Part:
    """The mean over a scenario's run specs, as HELM's own tables take it."""
    metrics = {spec["metric"] for spec in specs}
    gained, lost = (_sum(specs, key) for key in ("gained", "lost"))
    chance = None if gained is None or lost is None else sign_test(gained, lost)
    base, tuned = (_average(specs, who) for who in ("base", "tuned"))
    return {
        "scenario": name,
        "trained": _trained(name),
        "metric": metrics.pop() if len(metrics) == 1 else "several",
        "run_specs": len(specs),
        "instances": sum(spec["instances"] for spec in specs),
        "base": base,
        "tuned": tuned,
        "difference": None if base is None or tuned is None else tuned - base,
        "gained": gained,
        "lost": lost,
        "chance": chance,
        "verdict": _verdict(gained, lost, chance),
    }


def _average(entries: list[Part], key: str) -> float | None:
    """The mean; None unless every entry has a value, for means over other sets compare nothing."""
    found = [entry[key] for entry in entries if entry[key] is not None]
    return statistics.fmean(found) if found and len(found) == len(entries) else None


def _sum(entries: list[Part], key: str) -> int | None:
    found = [entry[key] for entry in entries if entry[key] is not None]
    return sum(found) if len(found) == len(entries) else None


def sign_test(gained: int, lost: int) -> float:
    """Chance of a split at least as uneven if either way were as likely, two-sided and exact.

    On right and wrong answers this is McNemar's test in its exact form (Psychometrika 12, 1947).
    """
    total, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(total, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**total)


def _verdict(gained: int | None, lost: int | None, chance: float | None) -> str:
    if chance is None or gained is None or lost is None or chance > SURE:
        return ""
    return "better" if gained > lost else "worse"


def _trained(name: str) -> bool:
    """Whether the run spec, or scenario, is of a skill that the rows teach."""
    return name.startswith("oneday:")


def _mean(specs: list[Part]) -> Part | None:
    """The mean over run specs, as ``make eval`` prints it."""
    if not specs:
        return None
    return {
        "run_specs": len(specs),
        "base": _average(specs, "base"),
        "tuned": _average(specs, "tuned"),
    }
