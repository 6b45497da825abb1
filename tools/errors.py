"""The one exception a user may meet, and what it prints."""

from collections.abc import Iterable


class UserError(Exception):
    """Something the user can put right: printed without a traceback, exit code 2.

    Args:
        faults: every fault found, each one line or paragraph that says what is wrong, where, and
            the remedy.
    """

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults: list[str] = [faults] if isinstance(faults, str) else list(faults)
        super().__init__("\n".join(self.faults))


class StageError(Exception):
    """A stage ran and its output failed its own check: exit code 1, nothing is kept as done."""
