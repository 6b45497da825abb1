"""Rows a quantizer looks at: the run's own, drawn by its seed, known again by the record."""

from pathlib import Path

import pytest

from tests.tiny import make_run
from tools.data import tokens
from tools.data.prepare import prepare
from tools.run.folder import Run
from tools.stages.quantizing.calibration import draw


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Run:
    values = {"quantize__num_calibration_samples": 5, "quantize__max_seq_length": 12}
    run = make_run(tmp_path, model__path=str(tiny_model), **values)
    prepare(run)
    return run


def test_rows_are_the_runs_own(run: Run, tiny_model: Path) -> None:
    found = draw(run, tiny_model)
    file = tokens.files(run, tiny_model)["train"]
    own = [ids for ids, _ in tokens.read(file, 1000, 12)]
    assert len(own) > 5 and found.rows == [own[number] for number in found.numbers]
    assert found.numbers == sorted(set(found.numbers)) and len(found.numbers) == 5
    assert max(map(len, found.rows)) == 12
    assert draw(run, tiny_model) == found
    record = found.record()
    assert (record["rows"], record["seed"]) == (found.numbers, run.recipe.data.seed)
    assert record["tokens"] == sum(map(len, found.rows)) and len(record["sha256"]) == 64


def test_another_seed_draws_others(run: Run, tiny_model: Path) -> None:
    first = draw(run, tiny_model)
    run.recipe.data.seed += 1
    assert draw(run, tiny_model).numbers != first.numbers


def test_all_where_there_are_fewer(run: Run, tiny_model: Path) -> None:
    run.recipe.quantize.num_calibration_samples = 10_000
    found = draw(run, tiny_model)
    assert found.numbers == list(range(len(found.rows)))
