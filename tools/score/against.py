"""One's own entries against one another, on the questions that both answered."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tools.score import per_question, suites
from tools.score.difference import HOW, Difference, Pairs, paired
from tools.score.pool import Entry
from tools.score.suites import Spec
from tools.score.tables import aligned


@dataclass(frozen=True)
class Against:
    """One comparison.

    Attributes:
        name: whom an entry is held against.
        difference: what it has more than that one.
    """

    name: str
    difference: Difference


def against(mine: Entry, others: Iterable[Entry]) -> list[Against]:
    """An entry against each other one that answered some of its questions, in their order.

    Of each run spec the first of the board's columns counts, unperturbed: higher is better in all.

    Args:
        mine: the entry.
        others: of the pool; published ones have no answers at hand.
    """
    found = [(one.name, paired(_pairs(one, mine))) for one in others if one is not mine]
    return [Against(name, difference) for name, difference in found if difference]


def _pairs(before: Entry, after: Entry) -> Pairs:
    old, new = ({spec.name: spec for spec in one.specs if spec.stats} for one in (before, after))
    return {name: _shared(old[name], new[name]) for name in old if name in new}


def _shared(before: Spec, after: Spec) -> list[per_question.Pair]:
    metric = next((name for name, _ in suites.wanted(after).values()), "")
    specs = (before, after)
    return per_question.pairs([one.folder for one in specs], metric, [one.chosen for one in specs])


def render(name: str, found: Sequence[Against]) -> str:
    """A table with a line each; empty where there is nobody to compare with."""
    if not found:
        return ""
    rows = [["entry", "run specs", "questions", "difference", "95 %", ""]]
    for one in found:
        made = one.difference
        numbers = [str(made.run_specs), str(made.questions), f"{made.mean:+.3f}", made.ends]
        rows.append([one.name, *numbers, made.verdict()])
    title = f"is {name} more than noise away from these, in the mean over run specs?"
    return "\n".join([title, aligned(rows, left=(0, 5)), *HOW])


def as_json(found: Sequence[Against]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {"entry": one.name, **asdict(one.difference), "verdict": one.difference.verdict()}
        for one in found
    ]
