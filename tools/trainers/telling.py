"""What a trainer's process tells its parent: events, a line of JSON each; no torch here."""

import json
import os
import sys
from typing import Any, NoReturn

MARK = "@oneday "  # begins the lines on stdout that tools.trainers.child reads


def first() -> bool:
    """Whether this is the job that speaks and writes for all that train together."""
    return os.environ.get("RANK", "0") == "0"


def several() -> bool:
    """Whether this process is one of several that train together."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def end(step: int, kind: str, reason: str, alone: bool = False) -> NoReturn:
    """Tell why, and leave the trainer before it saves anything.

    Args:
        step: the newest.
        kind: ``time`` or ``fault``.
        reason: for a user.
        alone: whether this job may be the only one to leave.
    """
    tell(alone, event="stop", step=step, kind=kind, reason=reason)
    sys.exit(0 if kind == "time" else 1)


def tell(alone: bool = False, /, **fields: Any) -> None:
    """Tell the parent an event, if this is the first job, or one that is ``alone`` with it."""
    if first() or alone:
        sys.stdout.flush()
        # In one piece, so that nothing that another job prints comes between.
        sys.stdout.write(f"{MARK}{json.dumps(fields)}\n")
        sys.stdout.flush()
