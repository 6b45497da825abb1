"""What goes wrong in a day of training: each ends with one clear message and nothing lost."""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import call, start
from tests.torture import Witness
from tools.console import duration
from tools.day.clock import HEARTBEAT, Clock
from tools.day.watch import EVENTS
from tools.rebuild.verify import verify

POISON = "train.plugins=[tests.e2e.nan_plugin.Poison]"
STEP = "ONEDAY_TEST_POISON"  # as in tests.e2e.nan_plugin, which needs Axolotl
Done = subprocess.CompletedProcess[str]


def wait(ready: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Until something is there, while the process still runs."""
    until = time.monotonic() + 240
    while not ready():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)


def whole(run: Path) -> dict[int, Path]:
    """Checkpoints of an interrupted training that bear the mark of a whole one, by step."""
    marked = [path.parent for path in run.glob(".adapter*/checkpoint-*/.complete")]
    return {int(path.name.rsplit("-", 1)[1]): path for path in marked}


def one_message(done: Done, code: int) -> str:
    """The only thing that an ended verb has to say about a fault."""
    assert done.returncode == code, done.stdout[-3000:]
    assert "Traceback" not in done.stdout
    said = re.split(r"^error: ", done.stdout, flags=re.MULTILINE)[1:]
    assert len(said) == 1 and '  File "' not in said[0], done.stdout[-3000:]
    return said[0]


def same_adapter(run: Path, alone: Path) -> bool:
    """Whether the trained weights are those of the undisturbed run; says where they parted."""
    name = "adapter/adapter_model.safetensors"
    same = (run / name).read_bytes() == (alone / name).read_bytes()
    if not same:  # once in 29 runs, and nobody knew why: pytest shows what is printed here
        pairs = zip(_logged(run), _logged(alone), strict=False)
        print("first difference:", next((pair for pair in pairs if pair[0] != pair[1]), "none"))
        print("by the clock:", (run / "adapter" / "schedule.json").exists())
    return same


def _logged(run: Path) -> list[dict[str, float]]:
    """What the trainer logged, without its speed."""
    names = ("step", "loss", "grad_norm", "learning_rate", "eval_loss")
    log = json.loads((run / "adapter" / "oneday.json").read_text())["metrics"]["log"]
    return [{name: entry[name] for name in names if name in entry} for entry in log]


@pytest.fixture(scope="module")
def disturbed(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A training met by a second one, killed, its newest checkpoint and its ledger damaged."""
    runs = tmp_path_factory.mktemp("disturbed")
    run = runs / "tiny"
    ledger = Clock(run / "clock.jsonl")
    seen: dict[str, Any] = {"run": run}
    first = start("train", tiny_recipe, runs)
    wait(lambda: ledger.intervals(), first)
    seen["second"] = call("train", tiny_recipe, runs)
    seen["lines_of_the_second"] = len(ledger.intervals()) - 1
    wait(lambda: len(whole(run)) >= 2, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    seen["before"] = ledger.intervals()[-1].seconds
    older, newest = sorted(whole(run))[-2:]
    seen["older"], seen["newest"] = older, newest
    _flip_a_byte(whole(run)[newest] / "optimizer.pt")
    os.truncate(ledger.path, ledger.path.stat().st_size - 7)
    seen["again"] = call("train", tiny_recipe, runs)
    return seen


def _flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_a_second_trainer_is_refused_and_the_first_unharmed(disturbed: dict[str, Any]) -> None:
    assert "in use by process" in one_message(disturbed["second"], 2)
    assert disturbed["lines_of_the_second"] == 0, "it put time on the clock"
    assert disturbed["newest"] >= 20


def test_a_corrupted_checkpoint_is_passed_over(disturbed: dict[str, Any], alone: Path) -> None:
    said = disturbed["again"].stdout
    assert disturbed["again"].returncode == 0, said[-3000:]
    (told,) = [line for line in said.splitlines() if f"checkpoint-{disturbed['newest']}" in line]
    assert "optimizer.pt" in told, told
    assert f"going on from step {disturbed['older']}" in said
    assert same_adapter(disturbed["run"], alone) and verify(disturbed["run"]) == []


def test_a_truncated_ledger_line_costs_a_heartbeat(disturbed: dict[str, Any]) -> None:
    ledger = Clock(disturbed["run"] / "clock.jsonl")
    first, second = ledger.intervals()
    assert ledger.torn() == 1
    assert 0 <= disturbed["before"] - first.seconds <= HEARTBEAT + 1
    assert second.ended and second.seconds > 1


def test_nan_stops_at_once_and_keeps_the_last_good_checkpoint(
    tiny_recipe: Path, alone: Path, tmp_path: Path
) -> None:
    poisoned = call("train", tiny_recipe, tmp_path, POISON, env={STEP: "15"})
    said = one_message(poisoned, 1)
    assert re.search("nan", said, re.IGNORECASE) and "step" in said, said
    assert list(whole(tmp_path / "tiny")) == [10] and not (tmp_path / "tiny/adapter").exists()
    assert _last_step(tmp_path / "tiny") <= 15 + 2, "steps were made in vain"  # logged every 2
    healed = call("train", tiny_recipe, tmp_path, POISON)
    assert healed.returncode == 0 and "going on from step 10" in healed.stdout, healed.stdout
    assert same_adapter(tmp_path / "tiny", alone)


def _last_step(run: Path) -> int:
    return max(json.loads(line).get("step", 0) for line in (run / EVENTS).read_text().splitlines())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no small disk: there is no mount command")
    if done.returncode:
        pytest.skip(f"no small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _fill(file: Path, process: subprocess.Popen[str]) -> None:
    """Take every byte that is left, and what an older checkpoint frees, until the process ends."""
    with file.open("wb", buffering=0) as rest:
        while process.poll() is None:
            for size in (2**22, 2**12):
                with contextlib.suppress(OSError):
                    while rest.write(bytes(size)):
                        pass
            time.sleep(0.01)


def test_a_disk_full_at_a_checkpoint(tiny_recipe: Path, alone: Path, small_disk: Path) -> None:
    run, filler = small_disk / "tiny", small_disk / "filler"
    training = start("train", tiny_recipe, small_disk)
    wait(lambda: whole(run), training)
    filling = threading.Thread(target=_fill, args=(filler, training), daemon=True)
    filling.start()
    printed, _ = training.communicate(timeout=240)
    filling.join()
    said = one_message(subprocess.CompletedProcess([], training.returncode, printed), 1)
    assert "No space left on device" in said, said
    assert not (run / "adapter").exists()
    kept = max(whole(run))
    filler.unlink()
    again = call("train", tiny_recipe, small_disk)
    assert again.returncode == 0 and f"going on from step {kept}" in again.stdout, again.stdout
    assert same_adapter(run, alone) and verify(run) == []


LONG = ("train.num_epochs=400", "train.save_steps=100", "train.eval_steps=100")


@pytest.fixture(scope="module")
def short_day(
    tiny_recipe: Path, alone: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A day that ends in the middle of training, and the time that a second clock saw."""
    runs = tmp_path_factory.mktemp("short")
    usual = {one.stage: one.seconds for one in Clock(alone / "clock.jsonl").intervals()}
    # Most of the usual time is Axolotl's start-up: twice that is not enough for 400 epochs.
    train, reserve = 2 * usual["train"], 3 * (usual["merge"] + usual["quantize"])
    day = (f"budget.hours={(train + reserve) / 3600}", f"budget.reserve_minutes={reserve / 60}")
    witness = Witness(runs / "tiny" / "clock.jsonl")
    process = start("quantize", tiny_recipe, runs, *day, *LONG)
    while process.poll() is None:
        witness.look()
        time.sleep(0.01)
    witness.look()
    printed, _ = process.communicate()
    assert process.returncode == 0, printed[-3000:]
    clock = call("clock", tiny_recipe, runs, *day, *LONG)
    assert clock.returncode == 0, clock.stdout
    ledger = Clock(runs / "tiny" / "clock.jsonl").intervals()
    return {
        "run": runs / "tiny",
        "train": train,
        "day": train + reserve,
        "clock": clock.stdout,
        "ledger": {one.stage: one.seconds for one in ledger},
        "true": list(witness.seconds.values()),
    }


def test_training_ends_inside_the_day_and_the_rest_still_runs(short_day: dict[str, Any]) -> None:
    used = short_day["ledger"]
    assert list(used) == ["train", "merge", "quantize"]
    limit = short_day["train"]
    assert 0.6 * limit < used["train"] <= limit, "it went into the reserve, or left time unused"
    assert sum(used.values()) <= short_day["day"]
    assert verify(short_day["run"]) == []
    record = json.loads((short_day["run"] / "adapter" / "oneday.json").read_text())
    assert record["metrics"]["last_loss"] < record["metrics"]["first_loss"]


def test_the_learning_rate_is_at_its_floor_when_the_day_ends(short_day: dict[str, Any]) -> None:
    events = [json.loads(line) for line in (short_day["run"] / EVENTS).read_text().splitlines()]
    rates = [event["learning_rate"] for event in events if "learning_rate" in event]
    (stop,) = [event for event in events if event["event"] == "stop"]
    (end,) = [event for event in events if event["event"] == "end"]
    assert stop["kind"] == "time" and end["step"] < end["total"]
    assert rates[-1] < 0.05 * max(rates), "the deadline cut the schedule off"


def test_the_clock_agrees_with_a_second_one(short_day: dict[str, Any]) -> None:
    for by_ledger, by_witness in zip(short_day["ledger"].values(), short_day["true"], strict=True):
        assert abs(by_ledger - by_witness) < 1
    used, day = sum(short_day["ledger"].values()), short_day["day"]
    assert f"{duration(used)} of {duration(day)} used" in short_day["clock"]
    assert "nothing is at work" in short_day["clock"]
