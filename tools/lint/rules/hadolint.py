"""hadolint, where it is installed: the errors that it finds beyond our own rules, as warnings."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.lint.finding import Finding, finding

# Ours already, in the organizers' terms, or matters of taste (github.com/hadolint/hadolint/wiki).
_IGNORED = (
    "DL1000 DL3000 DL3002 DL3003 DL3004 DL3005 DL3006 DL3007 DL3008 DL3009 DL3013 DL3014 DL3015 "
    "DL3016 DL3018 DL3019 DL3020 DL3021 DL3022 DL3025 DL3026 DL3027 DL3028 DL3029 DL3032 DL3033 "
    "DL3037 DL3041 DL3042 DL3045 DL3046 DL3047 DL3048 DL3055 DL3059 DL4000 DL4001 DL4003 DL4004 "
    "DL3061 DL3064 DL4006 SC2086 SC2046 SC2155 SC1091 SC2102 SC2039 SC3046"
).split()
_PATIENCE = 30  # seconds


def check(path: Path) -> Iterator[Finding]:
    """Run hadolint on a Dockerfile; nothing when it is not installed or does not answer."""
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.is_file() else shutil.which("hadolint")
    if not program:
        return
    ignored = [part for code in _IGNORED for part in ("--ignore", code)]
    try:
        done = subprocess.run(
            [program, "--format", "json", "--no-fail", *ignored, str(path)],
            capture_output=True, text=True, check=False, timeout=_PATIENCE,
        )  # fmt: skip
        found = json.loads(done.stdout or "[]")
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return
    for one in found:
        if one.get("level") == "error" and one["code"] not in _IGNORED:
            said = f"{one['code']}: {one['message']}"
            yield finding("hadolint", "Dockerfile", int(one["line"]), said)
