"""A short soak: 30 clients, everything at once, then SIGTERM. ``make soak`` runs for 30 minutes."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_short_soak(model_dirs: dict[str, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--model", str(model_dirs["byte_level"]),
         "--minutes", "0.5", "--scale", "0.2"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unexpected answers" in done.stdout
