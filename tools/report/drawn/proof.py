"""The section on what the run was made from and made, by content."""

import json

from tools.console import duration
from tools.report.drawn.html import Html, facts, fold, table, tag
from tools.report.gathered.source import Part


def manifest(part: Part) -> list[Html | None]:
    """What was made from what."""
    rows = [
        [
            each["stage"],
            each["finished"].replace("T", " ").replace("+00:00", ""),
            _fresh(each),
            duration(each["seconds"]),
            f"{len(each['files']):,}",
            f"{each['bytes'] / 1e6:,.1f}",
            tag("code", each["fingerprint"][:12]),
        ]
        for each in part["stages"]
    ]
    heads = ("stage", "finished, UTC", "state", "time", "files", "MB", "inputs")
    return [
        table(heads, rows, "Stages of the run", words=3),
        tag("p", "Current: whole, and what the recipe asks for now.", class_="soft"),
        facts(_origin(part)),
        fold("Versions", facts(sorted(part["versions"].items()))),
        fold(
            "The recipe, resolved",
            tag("pre", json.dumps(part["recipe"], indent=1, ensure_ascii=False)),
        ),
        fold("SHA-256 of every file", _hashes(part)),
    ]


def _fresh(each: Part) -> str:
    states = {True: "current", False: "not current"}
    return states.get(each["fresh"], "not known")


def _origin(part: Part) -> list[tuple[str, str]]:
    code, machine = part["code"], part["machine"]
    commit = str(code.get("commit", ""))[:12] or "not in a work tree"
    cards = ", ".join(card.get("name", "?") for card in machine.get("cards", [])) or "none"
    return [
        ("oneday", f"{part['oneday']}, commit {commit}{', edited' if code.get('dirty') else ''}"),
        ("machine", f"{machine.get('cpu', '–')}, {machine.get('cores', '–')} cores"),
        ("cards", cards),
        ("system", str(machine.get("platform", "–"))),
        ("Python", f"{machine.get('python', '–')}, {part['packages']:,} packages"),
    ]


def _hashes(part: Part) -> Html:
    rows = [
        [f"{stage['stage']}: {file}", tag("code", sha256)]
        for stage in part["stages"]
        for file, sha256 in stage["files"].items()
    ]
    return table(("file", "SHA-256"), rows, "SHA-256 of every file", words=2)
