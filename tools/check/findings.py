"""The check verb: may the recipe take part, and can its card do it? Before anything is run."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tools.check.rules import RULES
from tools.check.rules.base import Facts, Rule, Verdict
from tools.console import say
from tools.errors import UserError
from tools.recipe import yaml_map
from tools.recipe.compose import RECIPES
from tools.recipe.load import Loaded
from tools.recipe.redact import redact
from tools.recipe.schema import Recipe

DEMO = "demo track: not eligible"
_ORDER: tuple[Verdict, ...] = ("pass", "warn", "fail")  # the worst is nearest to the prompt


@dataclass(frozen=True)
class Finding:
    """What one rule says.

    Attributes:
        rule: its name.
        verdict: ``fail`` stops a run, ``warn`` does not.
        message: what is so, with the values.
        remedy: what to do about it; empty for ``pass``.
        reference: where the rule comes from.
        key: the full key of the value to change; for ``pass`` empty, but where a value is told.
        where: the ``file:line`` that set it, or ``--set``; empty where nothing did.
    """

    rule: str
    verdict: Verdict
    message: str
    remedy: str
    reference: str
    key: str = ""
    where: str = ""


def check(loaded: Loaded, track: str | None = None) -> list[Finding]:
    """Hold a recipe against every rule, all of them, in order.

    Args:
        loaded: the recipe.
        track: judge it for this track instead of its hardware's; with ``none`` nobody asks whether
            it is eligible. Where the hardware is of no track, faults of eligibility are warnings.
    """
    facts: Facts = yaml_map.read(RECIPES / "rules.yaml")
    judged = track or loaded.recipe.hardware.track
    findings = [_track(loaded.recipe, judged, chosen=track is not None)]
    for rule in RULES:
        if rule.eligibility and track == "none":
            continue
        findings += _apply(rule, loaded, facts, rule.eligibility and judged == "none")
    return [*findings, *_chosen(loaded)]


def _chosen(loaded: Loaded) -> Iterator[Finding]:
    """What ``auto`` stands for, where a recipe leaves the choice to it."""
    if why := loaded.recipe.quantize.chosen:
        key = "quantize.format"
        said = f"{key} auto takes {why}"
        yield Finding(key, "pass", said, "", "recipe", key, _origin(loaded.origins, key))


def _track(recipe: Recipe, track: str, chosen: bool) -> Finding:
    reference, card = "rules §1", recipe.hardware
    if track == "none" and chosen:
        return Finding("track", "pass", "none: who may take part is not asked", "", reference)
    if track == "none":
        remedy = "take HW=4090 or HW=a100 to take part, TRACK=none if you do not want to"
        return Finding("track", "warn", DEMO, remedy, reference)
    if track != card.track:
        said = f"hardware.name is {card.name}, of track {card.track}, not {track}"
        remedy = f"compose hardware/{track}"
        return Finding("track", "fail", said, remedy, reference, "hardware.track")
    return Finding("track", "pass", f"track {track}", "", reference)


def _apply(rule: Rule, loaded: Loaded, facts: Facts, demo: bool) -> Iterator[Finding]:
    clean = True
    for verdict, key, message, remedy in rule.find(loaded.recipe, facts):
        clean = False
        if demo and verdict == "fail":
            verdict, message = "warn", f"{message} ({DEMO})"
        where = _origin(loaded.origins, key)
        # A message may quote a value, and a value may be a secret.
        yield Finding(rule.name, verdict, redact(message), remedy, rule.reference, key, where)
    if clean:
        yield Finding(rule.name, "pass", "holds", "", rule.reference)


def _origin(origins: dict[str, str], key: str) -> str:
    """Where a value was set; a section's first value stands for the section."""
    below = (where for name, where in origins.items() if name.startswith((f"{key}.", f"{key}[")))
    return origins.get(key) or next(below, "")


def refuse_failed(loaded: Loaded, forced: bool = False) -> None:
    """Print what a rule warns of; stop where one fails, before anything is spent.

    Args:
        loaded: the recipe.
        forced: print the failures, too, and go on.

    Raises:
        UserError: each failure with its remedy.
    """
    found = check(loaded)
    for finding in found:
        if finding.verdict == "warn":
            say(f"check: {finding.message}")
    failed = [finding for finding in found if finding.verdict == "fail"]
    faults = [f"{finding.message}; {finding.remedy}" for finding in failed]
    if not faults:
        return
    if forced:
        for fault in faults:
            say(f"check: FORCE=1, so this is gone past: {fault}")
        return
    raise UserError([*faults, _ways_on(failed)])


def _ways_on(failed: list[Finding]) -> str:
    """How a user who knows better goes on."""
    eligibility = {rule.name for rule in RULES if rule.eligibility}
    alone = all(finding.rule in eligibility for finding in failed)
    free = "SET=hardware.track=none where you do not take part, or " if alone else ""
    return f"check: nothing was spent; mend what fails, or go on in spite of it: {free}FORCE=1"


def render(findings: list[Finding]) -> str:
    """What holds, a line a reference; a line a warning and a failure, worst last; and the sum."""
    holding: dict[str, list[str]] = {}
    for finding in findings:
        if finding.verdict == "pass" and not _is_told(finding):
            holding.setdefault(finding.reference, []).append(finding.rule)
    lines = [f"pass  {', '.join(names)} [{reference}]" for reference, names in holding.items()]
    lines += [f"pass  {one.message} [{one.where}]" for one in findings if _is_told(one)]
    for finding in sorted(findings, key=lambda one: _ORDER.index(one.verdict)):
        if finding.verdict != "pass":
            head = f"{finding.verdict}  {finding.rule}: {finding.message}"
            place = ": ".join(filter(None, [finding.where, finding.remedy]))
            lines += [f"{head} [{finding.reference}]", f"      {place}"]
    counts = {kind: sum(f.verdict == kind for f in findings) for kind in _ORDER}
    lines.append("check: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return "\n".join(lines)


def _is_told(finding: Finding) -> bool:
    """Whether it is no fault, but says something of a key."""
    return finding.verdict == "pass" and bool(finding.key)


def as_json(findings: list[Finding]) -> list[dict[str, Any]]:
    """The findings as plain values, in the order of the rules."""
    return [dataclasses.asdict(finding) for finding in findings]


def exit_code(findings: list[Finding], strict: bool = False) -> int:
    """2 when a rule failed, 1 when one warned and warnings count, else 0."""
    verdicts = {finding.verdict for finding in findings}
    if "fail" in verdicts:
        return 2
    return 1 if strict and "warn" in verdicts else 0
