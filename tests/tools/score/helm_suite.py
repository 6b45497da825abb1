"""Writes run folders as HELM leaves them, from answers given instance by instance."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

# By instance: by perturbation ("" is the original), the score of the answer.
Answers = Mapping[str, Mapping[str, float]]
ROBUST, FAIR = ("mild_mix",), ("dialect", "gender_term")
VALID = ("truthful_qa", "sam_sum", "corr2cause", "ethics_")


def original(*scores: float) -> Answers:
    """Instances without perturbed copies."""
    return {f"id{number}": {"": score} for number, score in enumerate(scores)}


def write_run(
    suite: Path,
    name: str,
    answers: Answers,
    metric: str = "exact_match",
    split: str = "",
    model: str = "neurips/local",
    also: Mapping[str, float | None] | None = None,
) -> Path:
    """Write one run folder.

    Args:
        suite: where.
        name: of the run spec, without the model.
        answers: the score of each answer.
        metric: what they are scores of.
        split: where the instances are from, its scenario's if not said; those of split train score
            0.5 and must not count.
        model: who answered.
        also: other stats of the whole run, None for one without a count.
    """
    split = split or ("valid" if name.startswith(VALID) else "test")
    full = f"{name}{',' if ':' in name else ':'}model={model}"
    folder = suite / full.replace("/", "_")
    folder.mkdir(parents=True)
    spec = {"name": full, "adapter_spec": {"model": model, "model_deployment": model}}
    (folder / "run_spec.json").write_text(json.dumps(spec))
    how = {"name": "robustness", "robustness": True, "computed_on": "original"}
    stats = [_stat(metric, split, 0.5, how), _stat(metric, "train", 0.5)]  # which count nowhere
    stats.append(_stat(metric, split, fmean(one[""] for one in answers.values())))
    for kind, members in (("robustness", ROBUST), ("fairness", FAIR)):
        worst = [min(s for how, s in a.items() if how in ("", *members)) for a in answers.values()]
        how = {"name": kind, kind: True, "computed_on": "worst"}
        stats.append(_stat(metric, split, fmean(worst), how))
    for other, value in (also or {}).items():
        stats.append(_stat(other, split, value))
    (folder / "stats.json").write_text(json.dumps(stats))
    (folder / "per_instance_stats.json").write_text(json.dumps(_instances(answers, metric, split)))
    return folder


def _instances(answers: Answers, metric: str, split: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {"instance_id": "elsewhere", "train_trial_index": 0, "stats": [_stat(metric, "train", 0.5)]}
    ]
    for instance, scores in answers.items():
        for how, score in scores.items():
            kind = {"name": how, "robustness": how in ROBUST, "fairness": how in FAIR}
            about = {"perturbation": kind} if how else {}
            stats = [_stat(metric, split, score, kind if how else None)]
            entries.append(
                {"instance_id": instance, **about, "train_trial_index": 0, "stats": stats}
            )
    return entries


def _stat(
    name: str, split: str, mean: float | None, perturbation: dict[str, Any] | None = None
) -> dict[str, Any]:
    how = {"perturbation": perturbation} if perturbation else {}
    about = {"name": name, "split": split, **how}
    if mean is None:
        return {"name": about, "count": 0, "sum": 0}
    return {"name": about, "count": 1, "sum": mean, "mean": mean}
