"""Programs that build: run to their end, their output kept."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.errors import StageError

LAST_LINES = 15


def call(words: Sequence[str], log: Path) -> None:
    """Run a command, its output added to a log.

    Raises:
        StageError: it failed; with the log's last lines.
    """
    with log.open("ab") as output:
        done = subprocess.run(words, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        raise StageError(f"{' '.join(words[:3])} failed; {log}:\n" + "\n".join(lines))


def printed(*words: str) -> str:
    """What a command prints, without the white space around it.

    Raises:
        StageError: it failed.
    """
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StageError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()
