"""The mistakes part: a few wrong answers of each scenario, with their prompts."""

import random

from tools.report.gathered.judged import helm
from tools.report.gathered.judged.scores import graded
from tools.report.gathered.judged.shown import Place, Shown, Values, by_scenario, values_of
from tools.report.gathered.source import Missing, Part, Source

SAMPLE = 10  # a scenario


def mistakes(source: Source) -> Part:
    """Wrong answers of the tuned model, or of the base where that alone was evaluated.

    Which ones is drawn by the recipe's seed. A metric that knows more than right and wrong (ROUGE)
    makes no mistakes: there the lowest values are taken.

    Raises:
        Missing: nothing was evaluated yet, or HELM's files are gone.
    """
    found = source.evaluated()
    who = "tuned" if "tuned" in found else "base"
    known = {model: values_of(source, model, found) for model in found}
    scenarios = by_scenario(known[who])
    if not scenarios:
        raise Missing("HELM's files of each question are not there", "eval")
    partly = {helm.scenario(name) for name, score in found[who].items() if graded(score["metric"])}
    chosen = {
        name: choose(values, seed(source, name), name in partly)
        for name, values in scenarios.items()
    }
    shown = Shown(source, known, who, [place for each in chosen.values() for place in each])
    return {
        "model": who,
        "scenarios": [
            {
                "scenario": name,
                "instances": len(values),
                "wrong": None if name in partly else sum(v < 1 for v in values.values()),
                "sample": [shown.entry(place) for place in chosen[name]],
            }
            for name, values in sorted(scenarios.items())
        ],
    }


def seed(source: Source, name: str) -> str:
    """Of a scenario's draw."""
    return f"{source.run.recipe.data.seed}/{name}"


def choose(values: Values, seed: str, graded: bool) -> list[Place]:
    """At most ``SAMPLE`` wrong answers, or of graded ones the lowest."""
    if graded:
        return sorted(values, key=lambda place: (values[place], place))[:SAMPLE]
    # Sorted, so that the draw hangs on the seed and not on the files' order.
    wrong = sorted(place for place, value in values.items() if value < 1)
    return sorted(random.Random(seed).sample(wrong, min(SAMPLE, len(wrong))))
