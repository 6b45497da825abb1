"""The mistakes part: a few wrong answers of each scenario, with their prompts."""

import random
import re
from collections import defaultdict
from typing import Any

from tools.report.gathered import helm
from tools.report.gathered.source import Missing, Part, Source

SAMPLE = 10  # a scenario
Place = tuple[str, str]  # a run spec's plain name, an instance's id
Values = dict[Place, float]


def mistakes(source: Source) -> Part:
    """Wrong answers of the tuned model, or of the base where that alone was evaluated.

    Which ones is drawn by the recipe's seed. A metric that knows more than right and wrong (ROUGE)
    makes no mistakes: there the lowest values are taken.

    Raises:
        Missing: nothing was evaluated yet, or HELM's files are gone.
    """
    found = source.evaluated()
    who = "tuned" if "tuned" in found else "base"
    scenarios: dict[str, Values] = defaultdict(dict)
    for name, values in _values(source, who, found).items():
        scenarios[helm.scenario(name)] |= {(name, each): v for each, v in values.items()}
    if not scenarios:
        raise Missing("HELM's files of each question are not there", "eval")
    graded = {helm.scenario(name) for name, score in found[who].items() if _graded(score["metric"])}
    chosen = {
        name: choose(values, _seed(source, name), name in graded)
        for name, values in scenarios.items()
    }
    shown = _Shown(source, found, who, [place for each in chosen.values() for place in each])
    return {
        "model": who,
        "scenarios": [
            {
                "scenario": name,
                "instances": len(scenarios[name]),
                "wrong": None if name in graded else sum(v < 1 for v in values.values()),
                "sample": [shown.entry(place) for place in chosen[name]],
            }
            for name, values in sorted(scenarios.items())
        ],
    }


def _seed(source: Source, name: str) -> str:
    return f"{source.run.recipe.data.seed}/{name}"


def _graded(metric: str) -> bool:
    """Whether a metric knows more than right and wrong."""
    return not re.search("exact|equiv", metric)


def choose(values: Values, seed: str, graded: bool) -> list[Place]:
    """At most ``SAMPLE`` wrong answers, or of graded ones the lowest."""
    if graded:
        return sorted(values, key=lambda place: (values[place], place))[:SAMPLE]
    # Sorted, so that the draw hangs on the seed and not on the files' order.
    wrong = sorted(place for place, value in values.items() if value < 1)
    return sorted(random.Random(seed).sample(wrong, min(SAMPLE, len(wrong))))


def _values(source: Source, who: str, found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The main metric of every question, by run spec."""
    paths = helm.folders(source.answers(who))
    return {
        name: helm.values(paths[name], score["metric"], score["split"])
        for name, score in found.get(who, {}).items()
        if name in paths
    }


class _Shown:
    """The chosen questions with the answers of both models; each run spec is read once.

    Args:
        source: the run.
        found: scores of both models.
        who: whose mistakes they are.
        places: the chosen questions.
    """

    def __init__(
        self, source: Source, found: dict[str, Any], who: str, places: list[Place]
    ) -> None:
        self._who = who
        wanted: dict[str, set[str]] = defaultdict(set)
        for name, instance in places:
            wanted[name].add(instance)
        self._answers: dict[str, dict[Place, helm.Answer]] = {}
        self._values: dict[str, Values] = {}
        for model in found:
            paths = helm.folders(source.answers(model))
            self._answers[model] = {
                (name, instance): answer
                for name, instances in wanted.items()
                if name in paths
                for instance, answer in helm.answers(paths[name], instances).items()
            }
            self._values[model] = {
                (name, instance): value
                for name, values in _values(source, model, found).items()
                for instance, value in values.items()
                if instance in wanted[name]
            }

    def entry(self, place: Place) -> Part:
        """One mistake."""
        answer = self._answers[self._who].get(place)
        return {
            "run_spec": place[0],
            "instance": place[1],
            "question": answer.question if answer else None,
            "prompt": answer.prompt if answer else None,
            "wanted": list(answer.wanted) if answer else [],
            "answers": {model: self._said(model, place) for model in self._answers},
        }

    def _said(self, model: str, place: Place) -> Part:
        answer = self._answers[model].get(place)
        return {
            "text": answer.text if answer else None,
            "read_as": answer.read_as if answer else "",
            "value": self._values[model].get(place),
        }
