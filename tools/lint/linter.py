"""The lint-submission verb: would this folder build, start and be scored by the organizers?

Nothing is run and nothing is fetched: the folder is read, the Dockerfile parsed, and what a build
would copy and run is followed as far as text can tell. What cannot be told is not reported.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.lint.finding import Finding, finding
from tools.lint.reading.dockerfile import ParseError, parse
from tools.lint.reading.folder import Folder
from tools.lint.reading.submission import Submission
from tools.lint.rules import (  # fmt: skip
    copies,
    downloads,
    hadolint,
    imports,
    instructions,
    layout,
    packages,
    paths,
    programs,
    secrets,
    server,
    shells,
    unused,
    variables,
)

_RULES = (variables, copies, packages, programs, shells, downloads, unused, paths, server, imports)


def lint(folder: Path) -> list[Finding]:
    """Hold a submission's folder against every rule.

    Args:
        folder: the folder that is handed in, with its Dockerfile.

    Returns:
        The findings by file and line, one for each rule at a place.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"PATH={folder}: no such folder; give the submission's folder")
    found: dict[tuple[str, int, str, str], Finding] = {}
    for one in _findings(Folder.read(folder)):
        found.setdefault((one.file, one.line, one.rule, one.message), one)
    return sorted(found.values())


def _findings(folder: Folder) -> Iterator[Finding]:
    yield from layout.check(folder)
    yield from secrets.check(folder)
    if "Dockerfile" not in folder.sizes:
        return
    text = folder.text("Dockerfile")
    if text is None or not text.strip():
        said = "Dockerfile is empty" if text is not None else "Dockerfile is no text"
        yield finding("dockerfile-syntax", "Dockerfile", 1, said)
        return
    if folder.wide("Dockerfile"):
        said = "Dockerfile is UTF-16 (PowerShell's > writes that); Docker reads UTF-8"
        yield finding("dockerfile-syntax", "Dockerfile", 1, said, remedy="save it as UTF-8")
    try:
        dockerfile = parse(text)
    except ParseError as error:
        yield finding("dockerfile-syntax", "Dockerfile", error.line, str(error))
        return
    yield from instructions.check(dockerfile)
    yield from hadolint.check(folder.root / "Dockerfile")
    if dockerfile.stages:
        submission = Submission.of(folder, dockerfile)
        for rules in _RULES:
            yield from rules.check(submission)


def render(findings: list[Finding]) -> str:
    """Three lines a finding: where and what, why it fails, the remedy; then the sum."""
    lines = []
    for one in findings:
        place = f"{one.file}:{one.line}" if one.line else one.file
        lines += [
            f"{place}: {one.severity}: {one.message} [{one.rule}]",
            f"    why: {one.why}",
            f"    remedy: {one.remedy}",
        ]
    errors = sum(one.severity == "error" for one in findings)
    lines.append(f"lint-submission: {errors} errors, {len(findings) - errors} warnings")
    return "\n".join(lines)


def as_json(findings: list[Finding]) -> list[dict[str, Any]]:
    """The findings as plain values."""
    return [dataclasses.asdict(one) for one in findings]


def exit_code(findings: list[Finding]) -> int:
    """1 when there are errors; warnings set none."""
    return int(any(one.severity == "error" for one in findings))
