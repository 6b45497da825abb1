"""Bare Axolotl, once for all tests that ask what it does by itself."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def bare(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``tests.tools.axolotl.bare`` says."""
    command = [sys.executable, "-m", "tests.tools.axolotl.bare", str(tiny_model)]
    command.append(str(tmp_path_factory.mktemp("bare")))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
