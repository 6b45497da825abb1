"""The benchmark of schedules: its simulation is that of the product, its table is right."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import schedule
from tests.tiny import recipe
from tools.run.folder import read_json, write_json


@pytest.mark.parametrize("name", schedule.SCHEDULES)
def test_a_slowed_machine_anneals_to_the_floor(name: str) -> None:
    found = {
        speed: schedule.simulate(name, machine) for speed, machine in schedule.MACHINES.items()
    }
    planned = found.pop("as planned")
    assert planned.steps == schedule.PLANNED and planned.ours == planned.plain
    for one in found.values():
        assert one.steps < 0.8 * schedule.PLANNED and one.over == 0
        assert one.ours < 0.02 and one.plain > 0.2


def test_both_trainings_end_at_the_same_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {"planned": 30, "stop": 10, "evaluated": True, "pressed": [[3, 0.2]]}
    followed: list[Any] = []

    def train(run: Any, allowance: Any) -> dict[str, Any]:
        replay = read_json(run.path / schedule.REPLAY)
        followed.append(replay)
        run.output("train").mkdir()
        write_json(run.output("train") / "schedule.json", record)
        rates = [0.1, 0.07 if replay else 0.001]
        log = [{"learning_rate": rate} for rate in rates]
        return {"log": [*log, {"eval_loss": 9.0}, {"eval_loss": 2.0 if replay else 1.9}]}

    monkeypatch.setattr(schedule, "train", train)
    monkeypatch.setattr(schedule, "prepare", lambda run: None)
    found = schedule.compare(recipe(), 60.0, tmp_path)
    assert followed == [None, {**record, "pressed": []}]
    assert found["ours"] == {"rate": 0.01, "loss": 1.9} and found["steps"] == 10
    cells = [cell.strip() for cell in schedule.table([found]).splitlines()[2].split("|")[1:-1]]
    assert cells == ["1", "10 of 30", "70.0%", "1.0%", "2.0000", "1.9000", "-0.1000"]


def test_simulation_table() -> None:
    found = {("cosine", "slow"): schedule.Simulated(300, 0.0, 0.001, 0.8)}
    (line,) = schedule.simulation_table(found).splitlines()[2:]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == ["cosine", "slow", "300 of 1000", "80.0%", "0.1%", "0.0"]
