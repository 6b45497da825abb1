"""The changes part: which questions tuning lost and which it won, with examples of both."""

import random
from typing import Any

from tools.report.gathered.judged import helm
from tools.report.gathered.judged.mistakes import seed
from tools.report.gathered.judged.scores import graded
from tools.report.gathered.judged.shown import Place, Shown, Values, by_scenario, values_of
from tools.report.gathered.source import Missing, Part, Source

SAMPLE = 5  # of the lost, and of the won, a scenario
KINDS = ("lost", "won")  # what tuning broke is what one looks for first


def changes(source: Source) -> Part:
    """Questions that the tuned model answers worse than the base, then those it answers better.

    All of them by their ids; ``SAMPLE`` a scenario and kind with their prompts and both answers:
    those that changed most, and among equals (right turned wrong) drawn by the recipe's seed.
    Scenarios in which most was lost come first.

    Raises:
        Missing: one model or none was evaluated, or HELM's files are gone.
    """
    found = source.evaluated()
    if len(found) < 2:
        raise Missing(f"only the {next(iter(found))} model was evaluated", "eval")
    known = {who: values_of(source, who, found) for who in found}
    before, after = (by_scenario(known[who]) for who in ("base", "tuned"))
    sorted_out = {
        name: _kinds(before[name], after[name]) for name in sorted(before.keys() & after.keys())
    }
    if not sorted_out:
        raise Missing("HELM's files of each question are not there", "eval")
    examples = {
        (name, kind): draw(places, f"{seed(source, name)}/{kind}")
        for name, kinds in sorted_out.items()
        for kind, places in kinds.items()
    }
    partly = {
        helm.scenario(name) for name, score in found["tuned"].items() if graded(score["metric"])
    }
    shown = Shown(source, known, "tuned", [place for each in examples.values() for place in each])
    scenarios = [
        {
            "scenario": name,
            "graded": name in partly,
            "questions": len(before[name].keys() & after[name].keys()),
            **{kind: _kind(kinds[kind], examples[name, kind], shown) for kind in KINDS},
        }
        for name, kinds in sorted_out.items()
    ]
    return {"scenarios": sorted(scenarios, key=_most_lost)}


def _kinds(before: Values, after: Values) -> dict[str, Values]:
    """By kind, the places of the questions that changed hands, and by how much."""
    both = before.keys() & after.keys()
    return {
        "lost": {each: before[each] - after[each] for each in both if after[each] < before[each]},
        "won": {each: after[each] - before[each] for each in both if after[each] > before[each]},
    }


def draw(changed: Values, seed: str) -> list[Place]:
    """At most ``SAMPLE`` places: the largest changes first, equals in an order of the seed."""
    places = sorted(changed)
    random.Random(seed).shuffle(places)
    return sorted(places, key=lambda place: -changed[place])[:SAMPLE]


def _kind(changed: Values, examples: list[Place], shown: Shown) -> Part:
    return {
        "count": len(changed),
        "questions": [list(place) for place in sorted(changed)],
        "examples": [shown.entry(place) for place in examples],
    }


def _most_lost(scenario: dict[str, Any]) -> tuple[int, int, str]:
    return -scenario["lost"]["count"], -scenario["won"]["count"], scenario["scenario"]
