"""The page: the run's figures, a section for each part, one file that needs no other."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

from tools.console import duration
from tools.report.drawn import answered, judged, made, proof, scored, served, swept
from tools.report.drawn.html import Html, facts, join, tag
from tools.report.gathered.source import UNREADABLE, Part
from tools.report.scale import number

# Name, title and maker of each section, as they follow each other.
SECTIONS: tuple[tuple[str, str, Callable[[Part], list[Html | None]]], ...] = (
    ("scores", "Scores", scored.scores),
    ("versus", "Beside another run", scored.versus),
    ("changes", "Won and lost", answered.changes),
    ("ranking", "Among others", judged.ranking),
    ("mistakes", "Mistakes", answered.mistakes),
    ("rules", "Output rules", judged.rules),
    ("contamination", "Contamination", judged.contamination),
    ("sweep", "The sweep", swept.sweep),
    ("training", "Training", made.training),
    ("day", "The day", made.day),
    ("memory", "Memory", made.memory),
    ("proofs", "Merge and quantize", served.proofs),
    ("worker", "The worker", served.worker),
    ("data", "Data", made.data),
    ("manifest", "Manifest", proof.manifest),
)
_HERE = Path(__file__).parent
_METHODS = {"lora": "LoRA", "qlora": "QLoRA", "full": "all weights"}


def render(found: dict[str, Any]) -> str:
    """The whole page.

    Args:
        found: as ``gather`` makes it.
    """
    style, script = (
        (_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js")
    )
    # Only this script may run, whatever a prompt holds: should one ever get past the escaping.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    there = [one for one in SECTIONS if one[0] in found["parts"]]  # no other run, no versus
    sections = [_section(name, title, make, found) for name, title, make in there]
    page = Template((_HERE / "template.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=join(f"{found['run']}: oneday report"),
        style=style,
        script=script,
        digest=digest,
        head=_head(found),
        links=join([tag("a", title, href=f"#{name}") for name, title, _ in there]),
        sections=join(sections),
        foot=_foot(found),
    )


def _section(
    name: str, title: str, make: Callable[[Part], list[Html | None]], found: dict[str, Any]
) -> Html:
    part = found["parts"][name]
    body = _missing(part) if "missing" in part else _shown(make, part)
    return tag(
        "section",
        tag("h2", title, id=f"{name}-head"),
        body,
        id=name,
        aria_labelledby=f"{name}-head",
    )


def _shown(make: Callable[[Part], list[Html | None]], part: Part) -> list[Html | None]:
    """A section's body; what another version wrote may lack what is shown here."""
    try:
        return make(part)
    except UNREADABLE as error:
        why = f"cannot be shown ({type(error).__name__}: {error})"
        return _missing({"missing": why, "command": "make report"})


def _missing(part: Part) -> list[Html | None]:
    what = part["missing"]
    told = tag("p", f"{what[:1].upper()}{what[1:]}.")
    how = tag("p", "This makes it: ", tag("code", part["command"]))
    return [tag("div", told, how, class_="missing")]


def _head(found: dict[str, Any]) -> Html:
    method = _METHODS.get(found["adapter"], found["adapter"])
    served = "merged weights" if found["format"] == "none" else found["format"]
    line = f"{found['model']}, {method} on {found['card']}, served as {served}"
    when = (found["finished"] or "").replace("T", " ").replace("+00:00", " UTC")
    return tag(
        "header",
        tag("p", "oneday", class_="brand"),
        tag("h1", found["run"]),
        tag("p", line, tag("br"), tag("span", f"finished {when}", class_="soft")),
        facts(_tiles(found), "tiles"),
    )


def _tiles(found: dict[str, Any]) -> list[tuple[str, Any]]:
    """The figures that say most; those that there are."""
    parts, checks = found["parts"], found["checks"]
    tiles: list[tuple[str, Any]] = []
    for name, mean in (parts["scores"].get("means") or {}).items():
        if mean and (mean["base"], mean["tuned"]) != (None, None):
            change = _change(mean["base"], mean["tuned"], 2)
            tiles.append((f"mean score, {name}", [*change, *_ends(mean["intervals"])]))
    if "curves" in parts["training"]:
        training = parts["training"]
        tiles.append(("loss", _change(training["first_loss"], training["last_loss"], 2)))
    if segments := parts["day"].get("segments"):
        used = sum(seconds for key, seconds in segments.items() if key not in ("reserve", "left"))
        of = f" of {duration(parts['day']['total'])}"
        tiles.append(("of the day", [tag("b", duration(used)), tag("small", of)]))
    if checks.get("perplexity_ratio"):
        cost = f"{checks['perplexity_ratio'] - 1:+.1%}".replace("-", "−")
        tiles.append(
            (f"perplexity, {found['format']}", [tag("b", cost), tag("small", " to merged")])
        )
    return tiles


def _change(before: float | None, after: float | None, digits: int) -> list[Html]:
    old = tag("small", f"{number(before, digits)} → ")
    return [old, tag("b", number(after, digits))]


def _ends(intervals: dict[str, Any]) -> list[Html]:
    """The interval of the newer of two means."""
    ends = intervals["tuned"] or intervals["base"]
    if not ends:
        return []
    return [tag("small", f"{number(ends[0], 2)} to {number(ends[1], 2)}", class_="ends")]


def _foot(found: dict[str, Any]) -> Html:
    told = f"Written by oneday {found['oneday']} from the run folder alone. "
    return tag(
        "footer",
        tag("p", told, "All figures of this page are in ", tag("code", "report.json"), "."),
    )
