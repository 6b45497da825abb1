"""The verdict page: every step, what was seen, what it took."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One step of a rehearsal.

    Attributes:
        name: what was tried.
        verdict: ``pass``, ``FAIL`` or ``not tried``.
        text: what was seen.
        seconds: what it took.
    """

    name: str
    verdict: str
    text: str
    seconds: float


def render(folder: Path, engine: str, steps: Sequence[Step]) -> tuple[str, bool]:
    """The page as Markdown, and whether nothing failed and the container was tried."""
    failed = [step.name for step in steps if step.verdict == "FAIL"]
    skipped = [step.name for step in steps if step.verdict == "not tried"]
    verdict = f"FAIL ({', '.join(failed)})" if failed else "pass"
    if skipped and not failed:
        verdict += f", but not tried: {', '.join(skipped)}"
    lines = [
        f"# Rehearsal of {folder.name}",
        "",
        f"Verdict: **{verdict}**. Engine: {engine}.",
        "",
        "| step | verdict | seen | s |",
        "|---|---|---|---|",
        *(_row(step) for step in steps),
    ]
    return "\n".join(lines) + "\n", not failed


def _row(step: Step) -> str:
    text = "<br>".join(step.text.replace("|", "\\|").splitlines())
    return f"| {step.name} | {step.verdict} | {text} | {step.seconds:.1f} |"
