"""What a trainer's process tells: one job for all, and the one that leaves alone for itself."""

import io
import json
import sys
from typing import Any

import pytest

from tools.trainers import child, telling


def test_both_sides_agree_on_the_mark() -> None:
    assert child.MARK == telling.MARK


def test_one_of_several_jobs_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    telling.tell(event="step")
    assert capsys.readouterr().out == "" and not telling.first()


def test_a_job_that_leaves_alone_tells_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit, match="1"):
        telling.end(3, "fault", "no room", alone=True)
    told = json.loads(capsys.readouterr().out.removeprefix(telling.MARK))
    assert told == {"event": "stop", "step": 3, "kind": "fault", "reason": "no room"}
    with pytest.raises(SystemExit, match="0"):
        telling.end(3, "time", "over")
    assert capsys.readouterr().out == ""


class Pipe(io.RawIOBase):
    """Takes down what is written at a time."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.pieces.append(bytes(data))
        return len(data)


@pytest.mark.parametrize("unbuffered", [False, True])
def test_an_event_is_written_in_one_piece(
    unbuffered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or what another job prints into the same pipe may come between."""
    pipe = Pipe()
    stdout = io.TextIOWrapper(io.BufferedWriter(pipe), write_through=unbuffered)
    monkeypatch.setattr(sys, "stdout", stdout)
    print("half a line", end="")
    telling.tell(event="step", step=1)
    event = telling.MARK + '{"event": "step", "step": 1}\n'
    assert pipe.pieces == [b"half a line", event.encode()]
