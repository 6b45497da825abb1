"""benchmarks/data_reading.py: seeded rows, both builds' figures and their ratios."""

import json
from pathlib import Path

import pytest

from benchmarks import data_reading


def test_rows_are_seeded_and_some_prompts_come_again() -> None:
    one, two, other = (list(data_reading.lines(400, seed)) for seed in (1, 1, 2))
    assert one == two != other
    prompts = [(row["question"], row["context"]) for row in map(json.loads, one)]
    assert 20 <= len(prompts) - len(set(prompts)) <= 80


def test_ratios_are_told_of_two_builds() -> None:
    new = {"build": "new", "rows": 10, "cpu": 3.0, "peak": 40.0, "written": 9}
    (alone,) = data_reading.said([new])
    assert "10 rows, new: 3.0 CPU s, peak 40 MB, 9 rows to learn" in alone
    *_, ratio = data_reading.said([new, {**new, "build": "old", "cpu": 6.0, "peak": 100.0}])
    assert "CPU 0.50 (wanted: 0.60 at most), peak 0.40 (wanted: 0.45 at most)" in ratio


def test_two_builds_of_one_folder_name_each_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Path] = []

    def verb(build: Path, folder: Path, name: str = "runs") -> data_reading.Found:
        runs.append(folder / name)
        return {"build": build.name, "cpu": 1.0, "peak": 1.0, "written": 1}

    monkeypatch.setattr(data_reading, "verb", verb)
    old = tmp_path / data_reading.ROOT.name
    data_reading.beside(old, 3, 1, tmp_path, turns=2)
    assert len(set(runs)) == len(runs) == 4
