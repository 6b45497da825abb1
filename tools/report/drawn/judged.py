"""Sections on what the run is worth: scores, rank, mistakes, rules, contamination."""

from tools.report.drawn.charts import dumbbell
from tools.report.drawn.html import Child, Html, breakable, fold, table, tag, text
from tools.report.gathered.source import Part
from tools.report.scale import number, share, signed

LONG = 600  # characters of a question; a longer one is folded


def scores(part: Part) -> list[Html | None]:
    """Base beside tuned, by scenario; by run spec where a scenario has several."""
    both = len(part["models"]) == 2
    told = None if both else f"Only the {part['models'][0]} model was evaluated."
    rows = [_scenario(each) for each in part["scenarios"]]
    heads = ("scenario", "", "base", "tuned", "change", "better / worse", "verdict", "n", "metric")
    return [
        tag("p", told) if told else None,
        tag("p", "Tier ", tag("code", part["tier"]), ". ", _key()),
        table(heads, rows, "Scores of base and tuned model by scenario", words=2, sortable=True),
        tag("p", _method(), class_="soft"),
        _run_specs(part),
    ]


def _key() -> list[Html]:
    dots = [("base", "base model"), ("tuned", "tuned model")]
    return [tag("span", tag("i", class_=f"dot {s}"), name, class_="keys") for s, name in dots]


def _method() -> str:
    return (
        "Better / worse: questions that the tuned model answers better, and worse, than the base. "
        "A verdict stands where so uneven a split would come by chance less than once in twenty "
        "(sign test); without a word the difference is noise. A scenario's value is the mean over "
        "its run specs."
    )


def _scenario(each: Part) -> list[Child]:
    changed = "–" if each["gained"] is None else f"{each['gained']:,} / {each['lost']:,}"
    chance = each["chance"]
    hint = None if chance is None else f"by chance: {chance:.2g}"
    return [
        [breakable(each["scenario"]), tag("small", " trained") if each["trained"] else None],
        dumbbell(each["base"], each["tuned"]),
        number(each["base"]),
        number(each["tuned"]),
        signed(each["difference"]),
        changed,
        tag("span", each["verdict"], title=hint),
        f"{each['instances']:,}",
        each["metric"],
    ]


def _run_specs(part: Part) -> Html | None:
    """All run specs, folded, where they are more than the scenarios."""
    if len(part["run_specs"]) == len(part["scenarios"]):
        return None
    rows = [
        [
            breakable(each["name"]),
            each["metric"],
            number(each["base"]),
            number(each["tuned"]),
            f"{each['instances']:,}",
        ]
        for each in part["run_specs"]
    ]
    heads = ("run spec", "metric", "base", "tuned", "n")
    found = table(heads, rows, "Scores by run spec", words=2, sortable=True)
    return fold(f"All {len(rows)} run specs", found)


def ranking(part: Part) -> list[Html | None]:
    """The table of the pool, with win rates by scenario; then where there is most to gain."""
    entries = part["entries"]
    among = ", ".join(part["pool"]) or "the runs beside this one"
    return [
        tag("p", f"{len(entries)} entries, from {among}. This run's own are marked."),
        None if part["scored"] else tag("p", _unscored()),
        *(_board(entries, part["ranked_by"]) if part["ranked_by"] else []),
        *_others(entries),
        _notes(part["notes"]),
        *_intervals(entries),
        *_gains(part["gains"]),
    ]


def _board(entries: list[Part], by: str) -> list[Html]:
    """Who has which place."""
    names = list(dict.fromkeys(name for each in entries for name in each["mean_win_rate"]))
    rows = [_entry(each, names, by) for each in entries]
    heads = ("entry", f"rank ({by})", "full", "open", "hidden", *names)
    return [
        table(heads, rows, "Scores and win rates of all entries", sortable=True),
        tag("p", _arithmetic(), class_="soft"),
    ]


def _unscored() -> str:
    return (
        "The questions that this run was asked are not the board's, so it has no score and no "
        "place; it is compared with those that were asked the same."
    )


def _others(entries: list[Part]) -> list[Html]:
    """Win rates where two or more have figures of scenarios that are part of neither stage."""
    having = [each for each in entries if each["other"]]
    names = list(dict.fromkeys(name for each in having for name in each["other"]))
    rows = [[_name(each), *(_rate(each["other"].get(name)) for name in names)] for each in having]
    told = "Win rates in scenarios of neither stage"
    found = [tag("h3", told), table(("entry", *names), rows, told, sortable=True)]
    return found if len(rows) > 1 else []


def _notes(notes: list[str]) -> Html:
    """What to know of the figures; many notes are folded."""
    listed = tag("ul", [tag("li", note) for note in notes], class_="soft notes")
    return listed if len(notes) <= 3 else fold(f"{len(notes)} notes on these figures", listed)


def _arithmetic() -> str:
    return (
        "Full is open / 3 + 2 hidden / 3; a stage is the geometric mean of the win rates of its "
        "scenarios, which stand to the right. A win rate is the share of the pool that one beats, "
        "the mean over a scenario's columns. A dash: not evaluated, so no score of that stage."
    )


def _entry(each: Part, names: list[str], by: str) -> list[Child]:
    stages = [number(each["score"].get(stage), 4) for stage in ("full", "open", "hidden")]
    rates = [_rate(each["mean_win_rate"].get(name)) for name in names]
    rank = each["rank"][by]
    return [_name(each), "–" if rank is None else rank, *stages, *rates]


def _name(each: Part) -> Child:
    """An entry's name, this run's own marked."""
    if not each["mine"]:
        return [None, each["entry"]]
    return [tag("i", class_="dot tuned"), tag("b", each["entry"])]


def _rate(value: float | None) -> Html:
    """A win rate on a ground that is the deeper the higher it is."""
    shade = None if value is None else f"--rate:{value:.2f}"
    return tag("span", number(value, 2), class_="rate" if shade else None, style=shade)


def _intervals(entries: list[Part]) -> list[Html]:
    """How far this run's scores would move with other questions."""
    return [
        tag(
            "p",
            f"{each['entry']}, 95 % intervals over its questions: ",
            ", ".join(
                f"{k} {low:.4f} to {high:.4f}" for k, (low, high) in each["interval"].items()
            ),
            ".",
        )
        for each in entries
        if each["mine"] and each["interval"]
    ]


def _gains(found: Part) -> list[Html]:
    """What beating others in one scenario would add."""
    if not found["scenarios"]:
        return []
    rows = [
        [
            each["scenario"],
            number(each["win_rate"], 2),
            signed(each["next"], 4),
            signed(each["best"], 4),
        ]
        for each in found["scenarios"]
    ]
    heads = ("scenario", "win rate now", "passing the next", "passing all")
    of = found["scenarios"][0]["of"]
    told = f"What {found['entry']} would gain in its {of} score, by one scenario alone"
    return [
        tag("h3", "Where there is most to gain"),
        tag("p", f"{told}."),
        table(heads, rows, told),
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
    entries = [_mistake(one, who, marks) for one in each["sample"]] or [tag("p", "None.")]
    summary = [tag("span", each["scenario"]), " ", tag("span", count, class_="soft")]
    return fold(summary, entries, class_="scenario")


def _mistake(one: Part, who: str, marks: dict[float, str]) -> Html:
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


def rules(part: Part) -> list[Html | None]:
    """Hits by rule and model."""
    models = part["models"]
    rows = [[each["rule"], *(f"{each[who]:,}" for who in models)] for each in part["rules"]]
    return [
        tag("p", "How often each output rule of the worker did something to an answer."),
        table(("rule", *models), rows, "Hits of the output rules", sortable=True),
    ]


def contamination(part: Part) -> list[Html | None]:
    """A line a scenario; run specs and findings are folded."""
    rows = [_checked(each["scenario"], each) for each in part["scenarios"]]
    rows += [[name, "not checked", "–", "–"] for name in part["unchecked"]]
    specs = [
        _checked(name, counts)
        for each in part["scenarios"]
        for name, counts in each["run_specs"].items()
    ]
    heads = ("finding", "questions", "share")
    by_spec = table(("run spec", *heads), specs, "Contamination by run spec", words=2)
    return [
        tag("p", f"Each scenario's questions were held against {part['rows']:,} training rows."),
        table(("scenario", *heads), rows, "Contamination by scenario", words=2),
        fold(f"All {len(specs)} run specs", by_spec) if len(specs) > len(rows) else None,
        *(
            fold(f"What is shared: {s['scenario']}", _examples(s))
            for s in part["scenarios"]
            if s["examples"]
        ),
        fold("How it was checked", tag("p", part["method"])),
    ]


def _checked(name: str, each: Part) -> list[Child]:
    known, partial = each["contaminated"], each["partial"]
    found = tag("b", f"{known:,} found in training rows") if known else "clean"
    some = f"; {partial:,} share some words with one" if partial else None
    return [breakable(name), [found, some], f"{each['instances']:,}", share(each["share"])]


def _examples(each: Part) -> list[Html]:
    return [
        tag(
            "article",
            tag("p", one["question"], class_="question"),
            tag("p", f"{one.get('file', '')} row {one['row']}: {one['why']}", class_="soft"),
            class_="mistake",
        )
        for one in each["examples"]
    ]
