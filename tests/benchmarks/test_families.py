"""The table of encoders and encoder-decoders, on models of no size."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.families", "--busy", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_the_table() -> None:
    done = run(
        "--shapes", "t5-tiny,bert-tiny", "--requests", "4", "--prompt", "16", "--repeats", "1"
    )
    assert done.returncode == 0, done.stderr
    head, _, *lines = done.stdout.splitlines()
    assert "ours / transformers" in head
    for line, shape in zip(lines, ("t5-tiny", "bert-tiny"), strict=False):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0] == shape and cells[4] == cells[6] == "-", "ctranslate2 is not installed"
        assert float(cells[2]) > 0 and float(cells[3]) > 0 and float(cells[5]) > 0


def test_an_unknown_shape_is_said() -> None:
    done = run("--shapes", "t6")
    assert done.returncode == 2 and "no t6; known: t5-small" in done.stderr
