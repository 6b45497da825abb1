"""Sections on scores: base beside tuned, and this run beside another."""

import json
from typing import Any

from tools.report.drawn.charts import dumbbell
from tools.report.drawn.html import Child, Html, breakable, fold, table, tag
from tools.report.gathered.source import Part
from tools.report.scale import number, signed

_LONG = 300  # characters of a recipe's value


def scores(part: Part) -> list[Html | None]:
    """Base beside tuned, by scenario; by run spec where a scenario has several."""
    both = len(part["models"]) == 2
    told = None if both else f"Only the {part['models'][0]} model was evaluated."
    rows = [_scenario(each) for each in part["scenarios"]]
    heads = ("verdict", "scenario", "", "base", "tuned", "change", "better / worse", "n", "metric")
    label = "Scores of base and tuned model by scenario"
    return [
        tag("p", told) if told else None,
        tag("p", "Tier ", tag("code", part["tier"]), ". ", _key()),
        table(heads, rows, label, words=3, head=1, sortable=True),
        tag("p", _METHOD, class_="soft"),
        tag("p", _INTERVALS, class_="soft"),
        _run_specs(part),
    ]


def _key() -> list[Html]:
    dots = [("base", "base model"), ("tuned", "tuned model")]
    return [tag("span", tag("i", class_=f"dot {s}"), name, class_="keys") for s, name in dots]


_METHOD = (
    "Better / worse: questions that the tuned model answers better, and worse, than the base. "
    "The verdict is better or worse where so uneven a split would come by chance less than once in "
    "twenty (sign test, exact); unclear is what may be noise, also where the interval of few "
    "questions leaves out 0 by little. A scenario's value is the mean over its run specs."
)
_INTERVALS = (
    "Small figures: 95 % intervals over other questions of the kind. Wilson's where an answer is "
    "right or wrong, 1.96 standard errors of the mean where it is graded; a change's counts both "
    "models' answers to the same questions as the pairs they are."
)


def _scenario(each: Part) -> list[Child]:
    ends = each["intervals"]
    return [
        _verdict(each),
        [breakable(each["scenario"]), tag("small", " trained") if each["trained"] else None],
        dumbbell(each["base"], each["tuned"]),
        _value(each["base"], ends["base"]),
        _value(each["tuned"], ends["tuned"]),
        _change(each["difference"], ends["difference"]),
        _hands(each),
        f"{each['instances']:,}",
        each["metric"],
    ]


def _verdict(each: Part) -> Html:
    """The verdict, which is never empty: it stands first, also on a phone."""
    if each["chance"] is None:
        return tag("span", "–", class_="soft", title="not known question by question")
    hint = f"by chance: {each['chance']:.2g}"
    if not each["verdict"]:
        return tag("span", "unclear", class_="soft", title=hint)
    return tag("b", each["verdict"], title=hint)


def _hands(each: Part) -> str:
    return "–" if each["gained"] is None else f"{each['gained']:,} / {each['lost']:,}"


def _value(value: float | None, ends: Any) -> list[Child]:
    """A score above its interval."""
    if ends is None:
        return [number(value)]
    return [number(value), tag("small", f"{number(ends[0])} to {number(ends[1])}", class_="ends")]


def _change(value: float | None, ends: Any) -> list[Child]:
    """A difference above its interval."""
    if ends is None:
        return [signed(value)]
    return [signed(value), tag("small", f"{signed(ends[0])} to {signed(ends[1])}", class_="ends")]


def _run_specs(part: Part) -> Html | None:
    """All run specs, folded, where they are more than the scenarios."""
    if len(part["run_specs"]) == len(part["scenarios"]):
        return None
    rows = [
        [
            breakable(each["name"]),
            each["metric"],
            _value(each["base"], each["intervals"]["base"]),
            _value(each["tuned"], each["intervals"]["tuned"]),
            _hands(each),
            f"{each['instances']:,}",
        ]
        for each in part["run_specs"]
    ]
    heads = ("run spec", "metric", "base", "tuned", "better / worse", "n")
    found = table(heads, rows, "Scores by run spec", words=2, sortable=True)
    return fold(f"All {len(rows)} run specs", found)


def versus(part: Part) -> list[Html | None]:
    """What differs in the recipes, then what that gained in scores and other figures."""
    run, other = part["run"], part["with"]
    if run == other:
        run, other = f"{run}, this one", f"{other}, the other"
    return [
        tag("p", f"This run, {run}, beside {other}; a gain is what this run has more."),
        tag("h3", "What changed in the recipe"),
        _recipe(part["recipe"], other, run),
        tag("h3", "What it gained"),
        *_gained(part, other, run),
        tag("h3", "Other figures"),
        _figures(part["figures"], other, run),
    ]


def _recipe(differences: list[Part], other: str, run: str) -> Html:
    if not differences:
        return tag("p", "Nothing: the recipes are the same.")
    rows = [
        [tag("code", each["key"]), _written(each["before"]), _written(each["after"])]
        for each in differences
    ]
    return table(("key", other, run), rows, "What changed in the recipe", words=3)


def _written(value: Any) -> Html:
    """A recipe's value as it is written there, a long one cut."""
    told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return tag("code", told if len(told) <= _LONG else f"{told[:_LONG]} …", class_="written")


def _gained(part: Part, other: str, run: str) -> list[Html | None]:
    """The tuned models' scores on the questions that both were asked."""
    rows = [_beside(each) for each in part["scenarios"]]
    heads = ("verdict", "scenario", other, run, "gain", "better / worse", "n", "metric")
    told = (
        "The tuned models, on the questions that both were asked in the same words; verdict and "
        "intervals as above."
    )
    apart = ", ".join(part["not_shared"])
    return [
        table(heads, rows, "What it gained", words=2, head=1, sortable=True) if rows else None,
        tag("p", told if rows else "No question was put to both tuned models.", class_="soft"),
        tag("p", f"Without a shared question: {apart}.", class_="soft") if apart else None,
    ]


def _beside(each: Part) -> list[Child]:
    ends = each["intervals"]
    return [
        _verdict(each),
        breakable(each["scenario"]),
        _value(each["base"], ends["base"]),
        _value(each["tuned"], ends["tuned"]),
        _change(each["difference"], ends["difference"]),
        _hands(each),
        f"{each['questions']:,}",
        each["metric"],
    ]


def _figures(figures: list[Part], other: str, run: str) -> Html:
    rows = []
    for each in figures:
        before, after = each["before"], each["after"]
        change = None if before is None or after is None else after - before
        digits = 0 if isinstance(change, int) else 3
        rows.append([each["figure"], _figure(before), _figure(after), signed(change, digits)])
    return table(("figure", other, run, "change"), rows, "Other figures")


def _figure(value: float | None) -> str:
    return "not recorded" if value is None else number(value, 0 if isinstance(value, int) else 3)
