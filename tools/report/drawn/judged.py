"""Sections on what the run is worth beside its scores: rank, output rules, contamination."""

from tools.report.drawn.html import Child, Html, breakable, fold, table, tag
from tools.report.gathered.source import Part
from tools.report.scale import number, share, signed


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
