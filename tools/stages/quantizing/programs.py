"""llm-compressor in a process of its own: its path, its progress, its failures."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import IO, Any

from tools.console import environment, say
from tools.errors import StageError
from tools.files import read_json
from tools.process import dies_with_parent
from tools.run import compressed

ROOT = Path(__file__).resolve().parents[3]
JOB = "tools.stages.quantizing.compressing"
NEWEST = 60  # lines of the child that the reason of its failure is looked for in
# llm-compressor's bar over the parts of a model: the embeddings' side, then a layer each.
_PART = re.compile(r"\((\d+)/(\d+)\): (Calibrating|Propagating)")
_ERROR = re.compile(r"^[\w.]*(Error|Exception|Interrupt)\b.*")


def compress(request: dict[str, Any], log: Path) -> dict[str, Any]:
    """What ``compressing.py`` answers.

    Args:
        request: see there.
        log: takes all that it prints.

    Raises:
        UserError: llm-compressor is not installed.
        StageError: it failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # It alone: whatever else is in its environment would stand in place of our own.
        (Path(scratch) / "llmcompressor").symlink_to(
            compressed.ENVIRONMENT.needed() / "llmcompressor"
        )
        asked, answer = Path(scratch) / "request.json", Path(scratch) / "answer.json"
        asked.write_text(json.dumps(request), encoding="utf-8")
        path = os.pathsep.join([scratch, str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        env = environment(PYTHONPATH=path, HF_HUB_OFFLINE="1", **_device(request))
        _child([sys.executable, "-m", JOB, str(asked), str(answer)], env, log)
        found = read_json(answer)
    if not isinstance(found, dict):
        raise StageError(f"quantize: llm-compressor gave no answer (log: {log})")
    return found


def _device(request: dict[str, Any]) -> dict[str, str]:
    """It computes on the first card it sees; where the recipe's device is the CPU it sees none."""
    return {"CUDA_VISIBLE_DEVICES": ""} if request["device"] == "cpu" else {}


def _child(words: list[str], env: dict[str, str], log: Path) -> None:
    newest: deque[str] = deque(maxlen=NEWEST)
    with log.open("a", encoding="utf-8") as kept:
        child = subprocess.Popen(
            words,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGKILL),
        )
        try:
            assert child.stdout
            _follow(child.stdout, kept, newest)
            code = child.wait()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if code:
        raise StageError(f"quantize: llm-compressor failed: {_reason(newest)} (log: {log})")


def _follow(lines: IO[str], kept: IO[str], newest: deque[str]) -> None:
    """Keep what the child says, and tell of each part of the model that it begins."""
    told = ""
    for line in lines:
        kept.write(line)
        newest.append(line)
        if (part := _PART.search(line)) and part[1] != told:
            told = part[1]
            say(f"quantize: part {part[1]} of {part[2]}")


def _reason(newest: deque[str]) -> str:
    """The exception that ended it, or its last line."""
    lines = [line.strip() for line in newest if line.strip()]
    named = [line for line in lines if _ERROR.match(line)]
    return (named or lines or ["no word"])[-1]
