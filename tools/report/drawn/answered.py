"""Sections on single questions: won and lost by tuning, and mistakes, with what was answered."""

from tools.report.drawn.html import Child, Html, fold, tag, text
from tools.report.gathered.source import Part
from tools.report.scale import number

LONG = 600  # characters of a question; a longer one is folded
_LISTED = 200  # ids of a kind that the page lists


def changes(part: Part) -> list[Html | None]:
    """A fold for each scenario: the lost first, then the won."""
    lost, won = (sum(each[kind]["count"] for each in part["scenarios"]) for kind in _KINDS)
    return [
        tag(
            "p",
            f"Tuning lost {lost:,} questions and won {won:,}: in scenarios of right and wrong "
            "answers, lost is right before and wrong now. Examples are those that changed most, "
            "among equals drawn by the recipe's seed; the ids of all are in ",
            tag("code", "report.json"),
            ".",
        ),
        *(_changed(each) for each in part["scenarios"]),
    ]


_KINDS = {
    "lost": "Lost: the base did better",
    "won": "Won: the tuned model does better",
}


def _changed(each: Part) -> Html:
    count = f"{each['lost']['count']:,} lost, {each['won']['count']:,} won of {each['questions']:,}"
    marks = {} if each["graded"] else {0.0: "wrong", 1.0: "right"}
    kinds = [_kind(each[kind], title, marks) for kind, title in _KINDS.items()]
    summary = [tag("span", each["scenario"]), " ", tag("span", count, class_="soft")]
    return fold(summary, kinds, class_="scenario")


def _kind(kind: Part, title: str, marks: dict[float, str]) -> list[Html]:
    """Examples of the lost or of the won; where there are more, their ids."""
    shown = len(kind["examples"])
    head = f"{title} ({shown:,} of {kind['count']:,} shown)"
    ids = [f"{name}, {instance}" for name, instance in kind["questions"][:_LISTED]]
    more = kind["count"] - len(ids)
    listed = [tag("li", one) for one in ids] + ([tag("li", f"and {more:,} more")] if more else [])
    return [
        tag("h3", head),
        *(_question(one, "tuned", marks) for one in kind["examples"]),
        *([fold("The ids", tag("ul", listed, class_="notes"))] if kind["count"] > shown else []),
    ]


def mistakes(part: Part) -> list[Html | None]:
    """A fold for each scenario."""
    return [
        tag(
            "p",
            f"Wrong answers of the {part['model']} model, up to ten a scenario, drawn by the "
            "recipe's seed; of graded scenarios the lowest.",
        ),
        *(_mistaken(each, part["model"]) for each in part["scenarios"]),
    ]


def _mistaken(each: Part, who: str) -> Html:
    count = f"{each['wrong']} of {each['instances']} wrong"
    if each["wrong"] is None:
        count = f"{each['instances']} questions, graded"
    marks = {} if each["wrong"] is None else {0.0: "wrong", 1.0: "right"}
    entries = [_question(one, who, marks) for one in each["sample"]] or [tag("p", "None.")]
    summary = [tag("span", each["scenario"]), " ", tag("span", count, class_="soft")]
    return fold(summary, entries, class_="scenario")


def _question(one: Part, who: str, marks: dict[float, str]) -> Html:
    question, prompt = one["question"], one["prompt"]
    answers = [("wanted", " or ".join(one["wanted"]) or "–")]
    said = sorted(one["answers"].items(), key=lambda pair: pair[0] != who)
    listed = [tag("div", tag("dt", name), tag("dd", text(value))) for name, value in answers]
    listed += [tag("div", tag("dt", name), tag("dd", _said(each, marks))) for name, each in said]
    whole = f"The whole prompt, {len(prompt or ''):,} characters"
    return tag(
        "article",
        _folded(question) if question else None,
        tag("dl", listed, class_="answers"),
        fold(whole, tag("pre", prompt)) if prompt and prompt != question else None,
        tag("p", f"{one['run_spec']}, {one['instance']}", class_="soft small"),
        class_="mistake",
    )


def _folded(question: str) -> Html:
    if len(question) <= LONG:
        return tag("p", question, class_="question")
    start = question[:LONG].rsplit(" ", 1)[0]
    return fold([start, " …"], tag("p", question, class_="question"), class_="question")


def _said(each: Part, marks: dict[float, str]) -> list[Child]:
    """An answer, the choice it was read as, and what it counted."""
    value = each["value"]
    if each["text"] is None and value is None:
        return [tag("span", "not asked", class_="soft")]
    read_as = each["read_as"] if each["read_as"] not in ("", each["text"]) else ""
    mark = "" if value is None else marks.get(value, number(value, 2))
    return [
        text(each["text"], "an empty answer"),
        tag("span", f" = {read_as}", class_="soft") if read_as else None,
        tag("span", f" {mark}", class_="mark") if mark else None,
    ]
