"""What a recipe is held against before anything is spent: a function a rule, all findings at once.

Open ``findings.py`` first; ``rules/`` has the rules.
"""

from tools.check.findings import Finding, check, refuse_failed

__all__ = ["Finding", "check", "refuse_failed"]
