"""Children of an export: what they are asked, what they print, that they do not outlive us."""

import contextlib
import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.console import environment
from tools.errors import StageError
from tools.files import read_json


def request_file(scratch: str, request: dict[str, Any]) -> str:
    """A request as a file: prompts may be longer than a command line takes."""
    file = Path(scratch) / "request.json"
    file.write_text(json.dumps(request), encoding="utf-8")
    return str(file)


def run_child(words: list[str], env: dict[str, str], log: Path, failed: str) -> None:
    """Run a program to its end; what it prints goes to the log.

    Raises:
        StageError: it failed, its last line says why; or a signal ended it.
    """
    with log.open("a", encoding="utf-8") as kept, _ending(words, env, kept) as process:
        code = process.wait()
    if code < 0:  # its last line is of what went well before
        raise StageError(f"export: {failed}: {signal.Signals(-code).name} ended it (log: {log})")
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise StageError(f"export: {failed}: {(lines or ['no word'])[-1]} (log: {log})")


def answered(words: list[str], request: dict[str, Any], log: Path, failed: str) -> dict[str, Any]:
    """Run a program that is given two more words, the files of a request and of its answer.

    Raises:
        StageError: it failed, or left no answer.
    """
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        call = [*words, request_file(scratch, request), str(answer)]
        run_child(call, environment(), log, failed)
        found = read_json(answer)
    if not isinstance(found, dict):
        raise StageError(f"export: {failed}: no answer came (log: {log})")
    return found


@contextlib.contextmanager
def _ending(words: list[str], env: dict[str, str], log: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A child that does not outlive us."""
    process = subprocess.Popen(words, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
