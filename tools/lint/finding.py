"""What the linter says about one place."""

import re
from dataclasses import dataclass

from tools.lint.catalogue import RULES, Severity
from tools.recipe.redact import redact


@dataclass(frozen=True, order=True)
class Finding:
    """One finding.

    Attributes:
        file: relative to the submission's folder; ``.`` is the folder itself.
        line: from 1; 0 where no line is meant.
        rule: its name in :data:`tools.lint.catalogue.RULES`.
        severity: errors set the exit code.
        message: what is wrong, without secrets.
        why: why it fails in the organizers' procedure.
        remedy: what to do.
    """

    file: str
    line: int
    rule: str
    severity: Severity
    message: str
    why: str
    remedy: str


def finding(
    rule: str,
    file: str,
    line: int,
    message: str,
    severity: Severity | None = None,
    remedy: str = "",
) -> Finding:
    """A finding of a rule; severity and remedy are the rule's own unless given."""
    known = RULES[rule]
    file = re.sub(r"^Dockerfile<\d+>.*", "Dockerfile", file)  # of a here document
    return Finding(
        file, line, rule, severity or known.severity, redact(message), known.why,
        remedy or known.remedy,
    )  # fmt: skip
