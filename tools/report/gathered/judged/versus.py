"""The versus part: two runs side by side, what differs in their recipes and what that gained."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from tools.recipe.compose import leaves
from tools.recipe.yaml_map import full_key
from tools.report.gathered import training
from tools.report.gathered.judged import helm
from tools.report.gathered.judged.paired import Score, judged, pair, together
from tools.report.gathered.judged.scores import score_of
from tools.report.gathered.records import hidden
from tools.report.gathered.source import UNREADABLE, Missing, Part, Source
from tools.run.folder import Run
from tools.run.provenance import Manifest

ABSENT = "absent"


def versus(source: Source) -> Part:
    """This run beside another: recipe, scores of the tuned models, other figures.

    Scores are over the questions that both runs were asked, word by word: an id alone may stand for
    another question where rows were made anew. Keys ``base`` and ``tuned`` are, as in the scores
    part, what is compared with and what is compared: the other run's tuned model and this one's.

    Raises:
        Missing: there is no other run.
    """
    other = source.other
    if other is None:
        raise Missing("no other run was named", "report WITH=runs/NAME")
    specs, apart = _specs(other, source)
    groups: dict[str, list[Part]] = defaultdict(list)
    for spec in specs:
        groups[helm.scenario(spec["name"])].append(spec)
    return {
        "run": source.run.recipe.name,
        "with": other.run.recipe.name,
        "recipe": differences(recipe_of(other.run), recipe_of(source.run)),
        "scenarios": [_scenario(name, each) for name, each in groups.items()],
        "not_shared": apart,
        "figures": _figures(other, source),
    }


def recipe_of(run: Run) -> dict[str, Any]:
    """The recipe that the newest stage was made by, without secrets and name."""
    manifest = Manifest(run.path)
    stored = manifest.content(manifest.stages[-1], "recipe") if manifest.stages else None
    found: dict[str, Any] = hidden(stored or {})
    return {key: value for key, value in found.items() if key != "name"}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Part]:
    """Keys whose values differ, in the order of the recipe; ``absent`` where one has none."""
    old, new = ({full_key(p): v for p, v in leaves(dict(each))} for each in (before, after))
    return [
        {"key": key, "before": _value(old, key), "after": _value(new, key)}
        for key in dict.fromkeys([*new, *old])
        if key not in old or key not in new or old[key] != new[key]
    ]


def _value(values: Mapping[str, Any], key: str) -> Any:
    return values.get(key, ABSENT)


def _specs(other: Source, source: Source) -> tuple[list[Part], list[str]]:
    """Run specs with questions that both runs were asked, and the names of those without."""
    found = [_tuned(each) for each in (other, source)]
    paths = [helm.folders(each.answers("tuned")) for each in (other, source)]
    shared, apart = [], []
    for name in sorted({*found[0], *found[1]}):
        scores = [
            score_of(scored.get(name), folders.get(name))
            for scored, folders in zip(found, paths, strict=True)
        ]
        same = name in found[0] and name in found[1] and _metric(found[0][name], found[1][name])
        both = _shared(scores, [folders.get(name) for folders in paths]) if same else set()
        if not both:
            apart.append(name)
            continue
        before, after = (_only(score, both) for score in scores)
        shared.append(
            {
                "name": name,
                "metric": found[1][name]["metric"],
                "questions": len(both),
                "base": before.value,
                "tuned": after.value,
                **pair(before, after),
            }
        )
    return shared, apart


def _tuned(source: Source) -> dict[str, Any]:
    try:
        return source.evaluated().get("tuned", {})
    except Missing:
        return {}


def _metric(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (one["metric"], one["split"]) == (other["metric"], other["split"])


def _shared(scores: list[Score], folders: list[Any]) -> set[str]:
    """Ids of the questions that both have a value of, and whose words are the same."""
    ids = scores[0].values.keys() & scores[1].values.keys()
    if not ids:
        return set()
    texts = [helm.questions(folder) for folder in folders]
    return {each for each in ids if texts[0].get(each) == texts[1].get(each) is not None}


def _only(score: Score, ids: set[str]) -> Score:
    values = {each: score.values[each] for each in sorted(ids)}
    return Score(statistics.fmean(values.values()), len(values), score.shares, values)


def _scenario(name: str, specs: list[Part]) -> Part:
    metrics = {spec["metric"] for spec in specs}
    return {
        "scenario": name,
        "metric": metrics.pop() if len(metrics) == 1 else "several",
        "questions": sum(spec["questions"] for spec in specs),
        **together(specs),
        **judged(specs),
    }


def _figures(other: Source, source: Source) -> list[Part]:
    """Figures beside the scores; None where a run has none."""
    return [
        {"figure": name, "before": _read(read, other), "after": _read(read, source)}
        for name, read in _READ.items()
    ]


def _read(read: Callable[[Source], Any], source: Source) -> Any:
    try:
        return read(source)
    except (Missing, *UNREADABLE):
        return None


def _metrics(stage: str, name: str) -> Callable[[Source], Any]:
    return lambda source: source.record(stage, name)["metrics"].get(name)


_READ: dict[str, Callable[[Source], Any]] = {
    "training rows": _metrics("data", "train_rows"),
    "steps": _metrics("train", "steps"),
    "last loss": _metrics("train", "last_loss"),
    "lowest held-out loss": lambda source: training.training(source)["best_eval_loss"],
    "learnt tokens a second": lambda source: training.training(source)["median_tokens_per_second"],
    "seconds of training": lambda source: source.record("train", "")["seconds"],
    "perplexity, quantized": _metrics("quantize", "quantized_perplexity"),
    "perplexity, quantized / merged": _metrics("quantize", "perplexity_ratio"),
    "KL, merged || quantized": _metrics("quantize", "kl"),
    "top-1 agreement": _metrics("quantize", "top1"),
    "quantized, MB": _metrics("quantize", "quantized_mb"),
}
