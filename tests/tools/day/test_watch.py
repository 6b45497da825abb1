"""What is shown of a training, and what ``make clock`` reads of it later."""

import io
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_run
from tools.day import watch
from tools.day.clock import Allowance
from tools.day.watch import EVENTS, Progress, View, after, line, outlook, panel, sparkline

ROOT = Path(__file__).resolve().parents[3]
BUSY = Progress(
    step=40,
    total=120,
    losses=(2.0, 1.5, 1.0, 0.5),
    held_out=0.75,
    learning_rate=9.5e-4,
    tokens=1812.4,
    gaps=(3.0, 3.0, 3.0, 15.0),
    last=100.0,
    saved=30,
)
EVENT_STREAM: list[dict[str, Any]] = [
    {"event": "begin", "step": 10, "total": 20},
    {"event": "log", "step": 10, "eval_loss": 3.0},
    {"event": "step", "step": 11},
    {"event": "step", "step": 12},
    {"event": "log", "step": 12, "loss": 2.5, "learning_rate": 1e-3, watch.TOKENS: 99.0},
    {"event": "save", "step": 12, "seconds": 0.5, "bytes": 1000},
]


def seen(events: list[dict[str, Any]], start: float = 0.0) -> Progress:
    """The events, a second apart."""
    found = Progress()
    for second, event in enumerate(events):
        found = after(found, {**event, "monotonic": start + second})
    return found


def view(root: Path, limit: float = 600.0) -> View:
    return View(make_run(root), Allowance(time.monotonic(), 0.0, limit))


def text(renderable: Any) -> str:
    from rich.console import Console

    console = Console(record=True, width=80, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_every_event_is_taken_in() -> None:
    assert seen(EVENT_STREAM) == Progress(
        step=12,
        total=20,
        losses=(2.5,),
        held_out=3.0,
        learning_rate=1e-3,
        tokens=99.0,
        gaps=(1.0,),
        last=3.0,
        saved=12,
    )


def test_an_end_by_the_clock_has_a_reason_and_a_whole_one_none() -> None:
    stop = {"event": "stop", "step": 15, "kind": "time", "reason": "the day is over"}
    end = {"event": "end", "step": 15, "total": 20}
    early, whole = seen([*EVENT_STREAM, stop, end]), seen([*EVENT_STREAM, {**end, "step": 20}])
    assert (early.step, early.ended, early.reason) == (15, True, "the day is over")
    assert (whole.step, whole.ended, whole.reason) == (20, True, "")


def test_what_is_not_known_changes_nothing() -> None:
    assert seen([*EVENT_STREAM, {"event": "news"}, {"event": "step"}]) == seen(EVENT_STREAM)


def test_an_evaluation_moves_the_eta_and_not_the_step_time() -> None:
    assert BUSY.step_seconds == 3.0
    assert BUSY.eta_seconds == 80 * 6.0


def test_time_before_the_first_step_is_no_step() -> None:
    found = seen([EVENT_STREAM[0], {"event": "step", "step": 11}])
    assert found.step_seconds is None and found.eta_seconds is None


def test_old_steps_leave_the_window() -> None:
    events = [{"event": "step", "step": step} for step in range(watch.WINDOW + 50)]
    assert len(seen([EVENT_STREAM[0], *events]).gaps) == watch.WINDOW


def test_the_live_view() -> None:
    shown = text(panel(BUSY, 900.0, "tiny"))
    rows = [row.strip("│╭╮╰╯─ ") for row in shown.splitlines()]
    for wanted in (
        "train: tiny",
        "40 of 120",
        "loss           0.500  █▆▃▁",
        "held-out loss  0.750",
        "learning rate  9.50e-04",
        "speed          3.00 s a step, 1,812 trained tokens/s",
        "checkpoint     step 30",
        "ETA            0:08:00",
        "budget left    0:15:00",
        "then           all steps will be made, 0:07:00 before the deadline",
    ):
        assert wanted in rows, shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_live_view_before_anything_is_known() -> None:
    shown = text(panel(Progress(), 900.0, "[red]tiny"))
    assert "0 of ?" in shown and "loading the model and the data" in shown and "[red]" in shown


def test_the_line_of_a_log() -> None:
    assert line(BUSY, 900.0) == (
        "train: step 40 of 120, loss 0.500, held-out loss 0.750, learning rate 9.50e-04, "
        "1,812 trained tokens/s, 3.00 s a step, ETA 0:08:00, budget left 0:15:00"
    )
    assert line(Progress(total=9), 900.0) == "train: step 0 of 9, budget left 0:15:00"


@pytest.mark.parametrize(
    ("found", "left", "said"),
    [
        (Progress(), 10.0, "loading the model and the data"),
        (Progress(total=9), 10.0, "measuring the first steps"),
        (BUSY, 480.0, "all steps will be made, 0:00:00 before the deadline"),
        (BUSY, 479.0, "near step 119; merge and quantize keep their time"),
        (BUSY, -3.0, "near step 40;"),
        (Progress(total=9, step=9, ended=True), 10.0, "all 9 steps were made"),
        (Progress(total=9, ended=True, reason="the day is over"), 0.0, "the day is over"),
    ],
)
def test_outlook(found: Progress, left: float, said: str) -> None:
    assert said in outlook(found, left)


@pytest.mark.parametrize(
    ("values", "curve"),
    [
        ((), ""),
        ((5.0,), "▁"),
        ((5.0, 5.0), "▁▁"),
        ((0.0, float("nan"), 7.0), "▁█"),
        (tuple(range(8)), "▁▂▃▄▅▆▇█"),
        (tuple(float(i // 100) for i in range(3000)), None),
    ],
)
def test_sparkline(values: tuple[float, ...], curve: str | None) -> None:
    found = sparkline(values)
    assert len(found) == 30 and list(found) == sorted(found) if curve is None else found == curve


def test_the_file_tells_what_the_view_tells(tmp_path: Path) -> None:
    watched = view(tmp_path)
    for event in EVENT_STREAM:
        watched.see(event)
    watched.close()
    found = watch.progress(tmp_path / "tiny" / EVENTS)
    assert found is not None and found.step == 12 and found.step_seconds is not None
    assert found.eta_seconds == pytest.approx(watched.progress.eta_seconds)
    assert (watched.step, watched.total, watched.ended, watched.reason) == (12, 20, False, "")


def test_lines_on_the_disk_are_json_with_both_clocks(tmp_path: Path) -> None:
    watched = view(tmp_path)
    watched.see({"event": "log", "step": 1, "loss": float("nan"), "grad_norm": float("inf")})
    lines = (tmp_path / "tiny" / EVENTS).read_text().splitlines()
    assert [json.loads(text, parse_constant=pytest.fail)["event"] for text in lines] == [
        "open",
        "log",
    ]
    stored = json.loads(lines[1])
    assert stored["loss"] is None and stored["grad_norm"] is None
    assert stored["wall"].endswith("+00:00") and stored["monotonic"] <= time.monotonic()


def test_no_file_or_no_plan_is_no_progress(tmp_path: Path) -> None:
    assert watch.progress(tmp_path / "absent") is None
    view(tmp_path)
    assert watch.progress(tmp_path / "tiny" / EVENTS) is None


def test_the_newest_attempt_alone_counts(tmp_path: Path) -> None:
    watched = view(tmp_path)
    for event in EVENT_STREAM:
        watched.see(event)
    again = view(tmp_path)
    assert watch.progress(tmp_path / "tiny" / EVENTS) is None, "the old attempt's numbers"
    again.see({"event": "begin", "step": 12, "total": 20})
    assert watch.progress(tmp_path / "tiny" / EVENTS) == Progress(step=12, total=20)


def test_a_torn_line_stays_alone(tmp_path: Path) -> None:
    file = tmp_path / "tiny" / EVENTS
    view(tmp_path).see({"event": "begin", "step": 0, "total": 20})
    whole = file.read_text()
    file.write_text(whole + '{"event": "step", "st')
    assert watch.progress(file) == Progress(total=20)
    view(tmp_path).see({"event": "begin", "step": 5, "total": 20})
    assert file.read_text().startswith(whole + '{"event": "step", "st\n{"event": "open"')
    assert watch.progress(file) == Progress(step=5, total=20)


def test_a_full_disk_does_not_end_the_training(tmp_path: Path) -> None:
    file = make_run(tmp_path).logs / EVENTS.name
    file.symlink_to("/dev/full")
    watched = view(tmp_path)
    watched.see({"event": "begin", "step": 0, "total": 20})
    watched.close()
    assert watched.total == 20


def test_lines_come_seconds_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(watch.time, "monotonic", lambda: now)
    watched = View(make_run(tmp_path), Allowance(now, 0.0, 600.0))
    watched.see({"event": "begin", "step": 0, "total": 100})
    for step in range(1, 100):
        now += 1.0
        watched.see({"event": "step", "step": step})
    watched.see({"event": "end", "step": 100, "total": 100})
    printed = capsys.readouterr().err.splitlines()
    steps = [int(row.split()[2]) for row in printed]
    assert steps == [0, *range(10, 100, 10), 100], printed
    assert all("\r" not in row and "budget left" in row for row in printed)


SHOW = """
import sys, time
from pathlib import Path
from tests.tiny import make_run
from tools.day.clock import Allowance
from tools.day.watch import View
view = View(make_run(Path(sys.argv[1])), Allowance(time.monotonic(), 0.0, 600.0))
view.see({"event": "begin", "step": 0, "total": 20})
view.see({"event": "log", "step": 7, "loss": 1.25})
view.see({"event": "stop", "step": 8, "kind": "time", "reason": "the day is over"})
print("said meanwhile", flush=True)
view.close()
print("rich" in sys.modules, flush=True)
"""


def show(root: Path, stderr: int) -> str:
    """What the view above leaves on stdout."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW, str(root)],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_terminal_gets_the_live_view(tmp_path: Path) -> None:
    reader, terminal = pty.openpty()
    said = show(tmp_path, terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(reader, 65536)
        except OSError:  # Linux's way to say that nobody writes any more
            break
        shown += part
        if not part:
            break
    os.close(reader)
    assert "train: tiny" in shown.decode() and "the day is over" in shown.decode()
    assert shown.decode().rstrip().endswith("\x1b[?25h"), "the cursor is not back"
    assert said == "said meanwhile\nTrue\n", "a line for a file went to the terminal"


def test_without_a_terminal_rich_is_never_loaded(tmp_path: Path) -> None:
    assert show(tmp_path, subprocess.DEVNULL) == "said meanwhile\nFalse\n"
