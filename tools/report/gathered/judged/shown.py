"""Chosen questions with the prompts and answers of both models, for examples on the page."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tools.report.gathered.judged import helm
from tools.report.gathered.source import Part, Source

Place = tuple[str, str]  # a run spec's plain name, an instance's id
Values = dict[Place, float]


def values_of(source: Source, who: str, found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The main metric of every question, by run spec.

    Args:
        source: the run.
        who: ``base`` or ``tuned``.
        found: scores of both, as ``Source.evaluated`` gives them.
    """
    paths = helm.folders(source.answers(who))
    return {
        name: helm.values(paths[name], score["metric"], score["split"])
        for name, score in found.get(who, {}).items()
        if name in paths
    }


def by_scenario(values: dict[str, dict[str, float]]) -> dict[str, Values]:
    """The same by scenario, each question under its place."""
    scenarios: dict[str, Values] = defaultdict(dict)
    for name, each in values.items():
        scenarios[helm.scenario(name)] |= {(name, one): value for one, value in each.items()}
    return scenarios


class Shown:
    """The chosen questions with the answers of both models; each run spec is read once.

    Args:
        source: the run.
        values: of each model, as ``values_of`` finds them.
        who: whose prompt is shown.
        places: the chosen questions.
    """

    def __init__(
        self,
        source: Source,
        values: dict[str, dict[str, dict[str, float]]],
        who: str,
        places: Iterable[Place],
    ) -> None:
        self._who, self._values = who, values
        wanted: dict[str, set[str]] = defaultdict(set)
        for name, instance in places:
            wanted[name].add(instance)
        self._answers: dict[str, dict[Place, helm.Answer]] = {}
        for model in values:
            paths = helm.folders(source.answers(model))
            self._answers[model] = {
                (name, instance): answer
                for name, instances in wanted.items()
                if name in paths
                for instance, answer in helm.answers(paths[name], instances).items()
            }

    def entry(self, place: Place) -> Part:
        """One question."""
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
            "value": self._values[model].get(place[0], {}).get(place[1]),
        }
