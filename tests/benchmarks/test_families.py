"""The table of encoders and encoder-decoders, on models of no size."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.families", "--busy", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("shape", ["t5-tiny", "bert-tiny"])
def test_the_table(shape: str) -> None:
    if shape == "bert-tiny" and "ONEDAY_TEST_ALL" not in os.environ:
        pytest.skip("slow: make test-all runs it")
    done = run("--shapes", shape, "--requests", "4", "--prompt", "16", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    head, _, line = done.stdout.splitlines()[:3]
    assert "ours / transformers" in head
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[0] == shape and cells[4] == cells[6] == "-", "ctranslate2 is not installed"
    assert float(cells[2]) > 0 and float(cells[3]) > 0 and float(cells[5]) > 0


def test_an_unknown_shape_is_said() -> None:
    done = run("--shapes", "t6")
    assert done.returncode == 2 and "no t6; known: t5-small" in done.stderr
