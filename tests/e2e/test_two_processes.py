"""Two processes on the CPU, started by torchrun for real: they train what one process trains."""

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.e2e.conftest import call, start
from tests.e2e.test_training_faults import one_message, wait, whole
from tools.day.clock import Clock
from tools.day.watch import EVENTS
from tools.rebuild.verify import verify

# 15 held-out rows in batches of 2: the last round is a row short, and accelerate fills it up.
STEPS = ("data.validation_rows=15", "train.max_steps=20")
ONE = (*STEPS, "train.gradient_accumulation_steps=2")
TWO = (*STEPS, "hardware.gpus=2", "hardware.memory_gib=3")
FSDP = (
    "train.fsdp_version=2",
    "train.fsdp_config={auto_wrap_policy: TRANSFORMER_BASED_WRAP, "
    "transformer_layer_cls_to_wrap: LlamaDecoderLayer, state_dict_type: FULL_STATE_DICT, "
    "reshard_after_forward: true}",
)
ZERO = "train.deepspeed=recipes/deepspeed/zero{}.json"
LONG = ("train.max_steps=2000", "train.save_steps=100", "train.eval_steps=100")


def train(recipe: Path, runs: Path, *sets: str) -> Path:
    """Train to the end; the run's folder."""
    done = call("train", recipe, runs, *sets)
    assert done.returncode == 0, done.stdout[-3000:]
    return runs / "tiny"


def log(run: Path) -> list[dict[str, float]]:
    """What the trainer logged."""
    record = json.loads((run / "adapter" / "oneday.json").read_text())
    found: list[dict[str, float]] = record["metrics"]["log"]
    return found


def logged(run: Path, name: str) -> dict[int, float]:
    """A value that the trainer logged, by step."""
    return {int(entry["step"]): entry[name] for entry in log(run) if name in entry}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def jobs(process: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """Axolotl's processes below a verb, by their rank; not what these fork for a while."""
    found = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # one that has just ended
            above = child.parent()
            if above and "torch.distributed.run" in above.cmdline():
                found[child.environ()["RANK"]] = child
    return found


#: A minute and more each; what one process does then, test_training_faults shows in every run.
slow = pytest.mark.skipif(
    not os.environ.get("ONEDAY_TEST_ALL"), reason="slow: make test-all runs it"
)


@pytest.fixture(scope="module")
def one(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, two batches a step."""
    return train(tiny_recipe, tmp_path_factory.mktemp("one"), *ONE)


@pytest.fixture(scope="module")
def two(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes, a batch a step each."""
    return train(tiny_recipe, tmp_path_factory.mktemp("two"), *TWO)


def assert_same(run: Path, one: Path) -> None:
    """The same training but for the order in which float32 numbers are added up."""
    for name in ("loss", "eval_loss", "learning_rate"):
        mine, its = logged(run, name), logged(one, name)
        assert mine.keys() == its.keys() and len(its) >= 2, name
        assert mine == pytest.approx(its, abs=1e-4), name
    here, there = weights(run), weights(one)
    assert here.keys() == there.keys()
    worst = max(float((here[name] - there[name]).abs().max()) for name in there)
    print(f"largest difference of a weight: {worst:.1e}")
    assert worst < 1e-4


def test_torchs_own_ddp(two: Path, one: Path) -> None:
    assert_same(two, one)
    assert verify(two) == []


def test_fsdp2(tiny_recipe: Path, one: Path, tmp_path: Path) -> None:
    assert_same(train(tiny_recipe, tmp_path, *TWO, *FSDP), one)


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed(stage: int, tiny_recipe: Path, one: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("deepspeed") is None:
        pytest.skip("deepspeed is not installed (make gpu)")
    assert_same(train(tiny_recipe, tmp_path, *TWO, ZERO.format(stage)), one)


@slow
def test_a_killed_job_ends_the_other_and_the_next_call_goes_on(
    tiny_recipe: Path, two: Path, tmp_path: Path
) -> None:
    run = tmp_path / "tiny"
    training = start("train", tiny_recipe, tmp_path, *TWO)
    wait(lambda: whole(run), training)
    found = jobs(training)
    assert found.keys() == {"0", "1"}
    found["1"].send_signal(signal.SIGKILL)
    printed, _ = training.communicate(timeout=180)
    said = one_message(subprocess.CompletedProcess([], training.returncode, printed), 1)
    assert "job 2 was ended by SIGKILL" in said, said
    assert not any(job.is_running() for job in found.values())
    step = max(whole(run))
    again = call("train", tiny_recipe, tmp_path, *TWO)
    assert again.returncode == 0 and f"going on from step {step}" in again.stdout, again.stdout
    mine, its = weights(run), weights(two)
    assert all(torch.equal(mine[name], its[name]) for name in its), "it went another way"
    assert logged(run, "loss") == logged(two, "loss")


@slow
def test_ctrl_c_reaches_both(tiny_recipe: Path, tmp_path: Path) -> None:
    training = start("train", tiny_recipe, tmp_path, *TWO, *LONG)
    wait(lambda: "begin" in _events(tmp_path / "tiny"), training)
    found = jobs(training)
    training.send_signal(signal.SIGINT)
    printed, _ = training.communicate(timeout=180)
    assert "Traceback" not in printed, printed[-3000:]
    assert training.returncode == 130
    assert len(found) == 2 and not any(job.is_running() for job in found.values())
    assert not (tmp_path / "tiny" / "adapter").exists()


def _events(run: Path) -> list[Any]:
    text = (run / EVENTS).read_text() if (run / EVENTS).exists() else ""
    return [json.loads(line)["event"] for line in text.splitlines()]


@slow
def test_the_clock_stops_both_and_the_adapter_is_merged(
    tiny_recipe: Path, two: Path, tmp_path: Path
) -> None:
    (usual,) = [one.seconds for one in Clock(two / "clock.jsonl").intervals()]
    limit, reserve = 2 * usual, 120.0
    day = (f"budget.hours={(limit + reserve) / 3600}", f"budget.reserve_minutes={reserve / 60}")
    merged = call("merge", tiny_recipe, tmp_path, *TWO, *LONG, *day)
    assert merged.returncode == 0, merged.stdout[-3000:]
    assert re.search(r"\d+ steps of 2000, as many as the budget allows", merged.stdout), (
        merged.stdout
    )
    used = Clock(tmp_path / "tiny" / "clock.jsonl").intervals()[0]
    assert used.stage == "train" and used.seconds <= limit
    run = tmp_path / "tiny"
    assert (run / "merged" / "config.json").is_file() and verify(run) == []
