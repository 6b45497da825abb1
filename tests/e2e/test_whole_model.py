"""All weights trained (``train.adapter: null``): through real Axolotl, kill -9, and a rebuild."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.e2e.conftest import ENV, ROOT, call, start
from tools.rebuild.verify import verify
from tools.stages.quantize import load

WHOLE = ("train.adapter=null", "train.learning_rate=1e-3", "train.num_epochs=0.5")


@pytest.fixture(scope="module")
def run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Killed behind a checkpoint, then ended: from data to quantized."""
    runs = tmp_path_factory.mktemp("whole model")
    folder = runs / "tiny"
    process, until = start("train", tiny_recipe, runs, *WHOLE), time.monotonic() + 600
    while not any(folder.glob(".adapter.*.partial/checkpoint-10/.complete")):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < until, "the moment to kill never came"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "adapter").exists(), "a half-trained model was taken as done"
    done = call("quantize", tiny_recipe, runs, *WHOLE)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "train: going on from step 10" in done.stdout
    assert "merge: all weights were trained, there is nothing to add to the base" in done.stdout
    return folder


def metrics(run: Path, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / folder / "oneday.json").read_text())["metrics"]
    return found


def test_it_is_trained_and_merged(run: Path, tiny_recipe: Path) -> None:
    trained, merged = (
        load_file(run / name / "model.safetensors") for name in ("adapter", "merged")
    )
    base = load_file(tiny_recipe.parent / "tiny" / "model.safetensors")
    assert merged.keys() == base.keys()
    assert all(torch.equal(one, trained[name]) for name, one in merged.items())
    moved = [name for name, one in base.items() if not torch.equal(one, merged[name])]
    assert len(moved) == len(base)  # norms and the embedding, too
    found = metrics(run, "adapter")
    assert found["trained_parameters"] == sum(one.numel() for one in trained.values())
    assert found["last_loss"] < found["first_loss"]
    assert metrics(run, "merged")["max_logit_diff"] == 0


def test_it_is_quantized_and_loads(run: Path) -> None:
    assert metrics(run, "quantized")["perplexity_ratio"] == pytest.approx(1, abs=0.1)
    net = load(run / "quantized", "cpu")
    assert net(torch.tensor([[5, 7, 9]])).logits.isfinite().all()


def test_it_is_verified_and_made_again(run: Path, tmp_path: Path) -> None:
    """Not killed this time: the same bytes."""
    assert verify(run) == []
    words = ["-m", "tools", "reproduce", "--run", str(run), "--into", str(tmp_path / "again")]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=ENV, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "verdict: identical" in done.stdout
