"""The child process around a trainer (a script in its place)."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tiny import make_run
from tools.axolotl import TRAINER
from tools.errors import StageError
from tools.run.folder import Run
from tools.trainers import child as trainers


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path)


def child(path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a shell script where the Python that runs a trainer would be."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_events_are_told_and_the_rest_is_logged(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
        printf 'bar 10%%\\r@oneday {"event": "step", "step": 1}\\n'
        printf 'half a line @oneday {"event": "log", "step": 1, "loss": NaN}\\n'
        echo "$*" >&2; echo "$AXOLOTL_DO_NOT_TRACK $PYTHONPATH"; printf 'odd \\377 byte\\n'"""
    child(tmp_path / "fake", monkeypatch, body)
    events: list[trainers.Event] = []
    trainers.call(TRAINER, run, "train", Path("a b.yaml"), {"output_dir": "x y"}, events.append)
    assert [(event["event"], event["step"]) for event in events] == [("step", 1), ("log", 1)]
    log = (run.logs / "train.log").read_text(encoding="utf-8")
    assert '-m tools.axolotl.job train a b.yaml {"output_dir": "x y"}' in log
    assert f"1 {Path(trainers.__file__).parents[2]}" in log  # no telemetry; finds tools anywhere
    assert "bar 10%" in log and "odd " in log and "@oneday" not in log


def test_a_failure_shows_the_end_of_the_log(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """seq 100; echo Traceback; echo '  File "x.py"'; echo x.OutOfMemoryError: no; exit 3"""
    child(tmp_path / "fake", monkeypatch, body)
    with pytest.raises(StageError) as caught:
        trainers.call(TRAINER, run, "merge", Path("x.yaml"), {})
    said = str(caught.value)
    assert "axolotl merge ended with code 3" in said and str(run.logs / "merge.log") in said
    assert "code 3: x.OutOfMemoryError: no\n" in said
    assert "Traceback" not in said and "100" not in said


def test_a_failure_without_an_error_shows_the_last_lines(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(tmp_path / "fake", monkeypatch, "seq 100; echo killed; exit 9")
    with pytest.raises(StageError) as caught:
        trainers.call(TRAINER, run, "merge", Path("x.yaml"), {})
    assert "\n99\n100\nkilled\n" in str(caught.value) and "\n80\n" not in str(caught.value)


def test_ctrl_c_ends_the_child_and_its_children(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """trap '' INT TERM; sleep 60 & echo "@oneday {\\"pids\\": [$$, $!]}"; wait"""
    child(tmp_path / "fake", monkeypatch, body)
    pids: list[int] = []

    def watch(event: trainers.Event) -> None:
        pids.extend(event["pids"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainers.call(TRAINER, run, "train", Path("x.yaml"), {}, watch)
    end = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(pids) == 2 and not any(map(alive, pids))


def test_a_child_that_hangs_is_ended(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """trap '' INT TERM; echo "@oneday {\\"pid\\": $$}"; sleep 60 & wait"""
    child(tmp_path / "fake", monkeypatch, body)
    told: list[trainers.Event] = []
    started = time.monotonic()
    with pytest.raises(trainers.Overdue, match=r"train did not end in 1 s.*\n.*train\.log"):
        trainers.call(TRAINER, run, "train", Path("x.yaml"), {}, told.append, seconds=1)
    assert time.monotonic() - started < 10
    assert not alive(told[0]["pid"])


def test_no_time_at_all_is_a_limit_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(tmp_path / "fake", monkeypatch, "sleep 5")
    with pytest.raises(trainers.Overdue, match="train did not end in 0 s"):
        trainers.call(TRAINER, run, "train", Path("x.yaml"), {}, seconds=0)


def test_a_child_in_time_is_not_overdue(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(tmp_path / "fake", monkeypatch, "echo $COLOUR")
    trainers.call(
        TRAINER, run, "train", Path("x.yaml"), {}, variables={"COLOUR": "green"}, seconds=30
    )
    assert "green" in (run.logs / "train.log").read_text()
    child(tmp_path / "fake", monkeypatch, "exit 3")
    with pytest.raises(StageError, match="code 3"):
        trainers.call(TRAINER, run, "train", Path("x.yaml"), {}, seconds=30)


def test_a_full_disk_does_not_hide_what_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (run.logs / "train.log").symlink_to("/dev/full")
    child(tmp_path / "fake", monkeypatch, """seq 9999; echo '@oneday {"event": "stop"}'""")
    told: list[trainers.Event] = []
    trainers.call(TRAINER, run, "train", Path("x.yaml"), {}, told.append)
    assert told == [{"event": "stop"}]
    child(
        tmp_path / "fake",
        monkeypatch,
        "echo 'OSError: [Errno 28] no room'; echo ' 9%| | 1/9'; exit 1",
    )
    with pytest.raises(StageError, match=r"code 1: OSError: \[Errno 28\] no room\n  log"):
        trainers.call(TRAINER, run, "train", Path("x.yaml"), {})


def test_the_curves_go_to_the_logs_and_the_same_sets_in_the_same_order(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(tmp_path / "fake", monkeypatch, "echo $TENSORBOARD_LOGGING_DIR $PYTHONHASHSEED")
    trainers.call(TRAINER, run, "train", Path("x.yaml"), {})
    assert (run.logs / "train.log").read_text() == f"{run.logs / 'tensorboard'} 0\n"


def test_several_cards_are_torchruns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, hardware__gpus=2)
    child(tmp_path / "fake", monkeypatch, 'echo "$*"')
    for command in ("train", "merge"):
        trainers.call(TRAINER, run, command, Path("x.yaml"), {"output_dir": "o"})
    said = {name: (run.logs / f"{name}.log").read_text() for name in ("train", "merge")}
    job = 'tools.axolotl.job {} x.yaml {{"output_dir": "o"}}\n'
    launcher = "-m torch.distributed.run --standalone --nproc_per_node=2 -m "
    assert said["train"] == launcher + job.format("train")
    assert said["merge"] == "-m " + job.format("merge")


def test_torchrun_starts_a_job_a_card(tmp_path: Path) -> None:
    told = "open(os.environ['RANK'], 'w').write(repr(sys.argv[1:]))"  # stdout would mix them
    (tmp_path / "job.py").write_text(f"import os, sys\n{told}\n")
    words = trainers._words("tools.axolotl.job", 2, "train", Path("x.yaml"), {"a": "b c"})
    words[words.index("tools.axolotl.job")] = "job"
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for rank in ("0", "1"):
        assert (tmp_path / rank).read_text() == repr(["train", "x.yaml", '{"a": "b c"}'])


def test_torchrun_is_asked_to_end_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    body = (
        f"""trap 'touch {asked}; exit 0' TERM; echo '@oneday {{}}'; while :; do sleep 0.1; done"""
    )
    child(tmp_path / "fake", monkeypatch, body)

    def interrupt(event: trainers.Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainers.call(
            TRAINER, make_run(tmp_path, hardware__gpus=2), "train", Path("x.yaml"), {}, interrupt
        )
    assert asked.exists()


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not waited for yet does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
