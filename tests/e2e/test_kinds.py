"""Models that are not causal, trained for real: killed and gone on with, the same bytes."""

import os
from pathlib import Path

import pytest

from tests import kin
from tests.e2e.conftest import call
from tests.e2e.kinds import metrics, write
from tests.matrix.stages import alone, cell

#: One of each kind in every test run, all families where slow ones are asked for.
ALL = bool(os.environ.get("ONEDAY_TEST_ALL"))
FAMILIES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            not ALL and name not in ("t5", "bert"), reason="slow: make test-all runs it"
        ),
    )
    for name in kin.FAMILIES
]


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_and_a_killed_run_ends_as_one_left_alone(family: str, tmp_path: Path) -> None:
    for column in ("train", "killed"):
        said, fault = cell(family, column, tmp_path)
        assert not fault, said
    found = metrics(alone(family, tmp_path))
    assert found["eval_loss"] > 0 and found["tokens_per_second"] > 0
    assert found["steps"] == found["planned_steps"]


def test_all_weights(tmp_path: Path) -> None:
    """``train.adapter: null``: the model itself, in the base's names."""
    from safetensors import safe_open

    recipe = write(tmp_path, "t5")
    sets = ("train.adapter=null", "train.learning_rate=1e-3", "train.num_epochs=1")
    done = call("train", recipe, tmp_path / "runs", *sets)
    assert done.returncode == 0, done.stdout[-4000:]
    named = []
    for folder in (tmp_path / "t5", tmp_path / "runs" / "t5" / "adapter"):
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            named.append(set(file.keys()))
    assert named[0] == named[1]
