"""The benchmark of the clock: what it reads from the trainer's log, and its verdict."""

import json
from pathlib import Path

import pytest

from benchmarks import clock
from benchmarks.clock import Trained
from tools.errors import StageError


def test_the_trainers_own_time() -> None:
    log = "{'train_runtime': '9.5', 'a': 1}\n{'train_runtime': '12.25', 'train_loss': '1'}"
    assert clock.loop_seconds(log) == 12.25
    assert clock.loop_seconds("{'train_runtime': 3.5}") == 3.5
    with pytest.raises(StageError, match="no train_runtime"):
        clock.loop_seconds("no such thing")


def test_table() -> None:
    theirs = [Trained(10.0, "a" * 64), Trained(12.0, "b" * 64)]
    mine = [Trained(10.1, "c" * 64), Trained(12.1, "c" * 64)]
    lines = clock.table(theirs, mine, 10).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert cells[0] == ["1", "1.0000", "1.0100", "1.010", "a" * 12, "c" * 12]
    assert cells[2] == ["median", "1.1000", "1.1100", "1.009", "<= 1.02: met", ""]
    assert "NOT MET" in clock.table(theirs, [Trained(12.0, ""), Trained(12.0, "")], 10)


@pytest.mark.parametrize(
    ("seconds", "adapters", "code"), [(10.0, "cc", 0), (10.0, "cd", 1), (11.0, "cc", 1)]
)
def test_the_verdict(
    seconds: float,
    adapters: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = iter(adapters)
    monkeypatch.setattr(clock, "rendered", lambda recipe, root: root)
    monkeypatch.setattr(clock, "bare", lambda config, folder: Trained(10.0, folder.name))
    monkeypatch.setattr(clock, "ours", lambda recipe, name, root: Trained(seconds, next(made)))
    assert clock.main(["--quick", "--json", str(tmp_path / "f.json")]) == code
    said = capsys.readouterr().out
    assert "axolotl train: different adapters" in said
    assert f"ours: {'the same' if adapters == 'cc' else 'different'} adapters" in said
    assert len(json.loads((tmp_path / "f.json").read_text())["ours"]) == 2
