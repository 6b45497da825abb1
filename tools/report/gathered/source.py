"""What the parts of a report read from, and how one says that it has nothing to show."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.files import read_json
from tools.run.folder import Run
from tools.run.provenance import Record

Part = dict[str, Any]
# What a file of another version, or one that was edited, may raise in who reads or shows it.
UNREADABLE = (UserError, OSError, LookupError, TypeError, ValueError, AttributeError)


class Missing(Exception):
    """A part has nothing to show yet.

    Args:
        what: is missing, a phrase for the page.
        target: of the Makefile, which makes it.
    """

    def __init__(self, what: str, target: str) -> None:
        super().__init__(what)
        self.target = target


@dataclass(frozen=True)
class Source:
    """A run folder, read only.

    Attributes:
        run: the recipe and its folder.
        pool: results of others, files or folders as ``make score`` takes them.
        other: a run to stand beside this one.
    """

    run: Run
    pool: tuple[Path, ...] = ()
    other: "Source | None" = None

    def record(self, stage: str, what: str, target: str = "") -> Record:
        """A stage's record.

        Args:
            stage: its name.
            what: is missing without it.
            target: makes it; the stage's own name when empty.

        Raises:
            Missing: the stage has no output yet.
        """
        found = self.run.record(stage)
        if found is None:
            raise Missing(what, target or stage)
        return found

    def evaluated(self) -> dict[str, dict[str, Any]]:
        """``scores.json`` of the models that were evaluated, by ``base`` and ``tuned``.

        Raises:
            Missing: none was.
        """
        stored = {who: read_json(self.answers(who) / "scores.json") for who in ("base", "tuned")}
        found = {who: scores for who, scores in stored.items() if scores}
        if not found:
            raise Missing("nothing was evaluated yet", "eval")
        return found

    def answers(self, who: str) -> Path:
        """The folder of an evaluation, of ``base`` or ``tuned``."""
        return self.run.output(f"eval_{who}")
