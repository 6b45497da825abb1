"""Several jobs of one training, on the CPU: they meet, share the rows, and count them once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools.axolotl import two_jobs
from tools.axolotl import processes
from tools.day import checkpoints

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two jobs left behind."""
    made = tmp_path_factory.mktemp("two")
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*words, "-m", two_jobs.__name__, str(made)],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return values


def test_each_row_comes_once_an_epoch(found: dict[str, Any]) -> None:
    share = two_jobs.TRAIN // 2
    for epoch in range(two_jobs.EPOCHS):
        of_both = [number for seen in found["seen"] for number in seen[epoch * share :][:share]]
        assert sorted(of_both) == list(range(two_jobs.TRAIN)), f"epoch {epoch + 1}"


def test_rows_that_fill_up_the_last_round_are_not_counted(found: dict[str, Any]) -> None:
    assert found["eval_loss"] == pytest.approx(found["by_hand"], rel=1e-5)


def test_one_of_them_names_the_checkpoints_and_each_adds_its_random_state(folder: Path) -> None:
    whole = checkpoints.found(folder)
    assert len(whole) == two_jobs.EPOCHS and not any(map(checkpoints.fault, whole))
    for checkpoint in whole:
        assert {f"rng_state_{rank}.pth" for rank in (0, 1)} <= {
            x.name for x in checkpoint.iterdir()
        }


def test_one_process_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.state import PartialState

    monkeypatch.delenv("WORLD_SIZE", raising=False)
    plain = PartialState._prepare_backend
    processes.join()
    assert not processes.several() and PartialState._prepare_backend is plain
