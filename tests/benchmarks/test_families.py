"""The table of encoders and encoder-decoders, on models of no size."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.machine import computes_bfloat16

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
    names, cells = ([cell.strip() for cell in row.strip("|").split("|")] for row in (head, line))
    found = dict(zip(names, cells, strict=True))
    assert found["shape"] == shape
    assert found["ctranslate2, tokens/s"] == found["ours / ctranslate2"] == "-", "not installed"
    measured = ["ours, tokens/s", "transformers, tokens/s", "ours / transformers"]
    half = ["ours in bfloat16, tokens/s", "ours in bfloat16 / transformers"]
    if computes_bfloat16():
        measured += half
    else:
        assert {found[name] for name in half} == {"-"}
    assert all(float(found[name]) > 0 for name in measured)


def test_an_unknown_shape_is_said() -> None:
    done = run("--shapes", "t6")
    assert done.returncode == 2 and "no t6; known: t5-small" in done.stderr
