"""Which adapters a merge takes; what becomes of several is told in test_merge and test_several."""

from pathlib import Path

from tests.tiny import make_run
from tools.recipe.schema import Merge, WeightedAdapter
from tools.run.folder import Work
from tools.stages import mixed


def test_the_own_one_alone_is_merged_as_it_is(tmp_path: Path) -> None:
    run, work = make_run(tmp_path), Work(tmp_path / "work")
    assert mixed.folders(run) == [run.output("train")]
    assert mixed.together(run, tmp_path / "base", work) == run.output("train")
    assert work.metrics == {}


def test_the_entry_without_a_path_is_the_own_one(tmp_path: Path) -> None:
    both = {"other": WeightedAdapter(0.5, "runs/b/adapter"), "own": WeightedAdapter(1.0)}
    run = make_run(tmp_path, merge=Merge("plain", 1e-3, both))
    assert mixed.folders(run) == [Path("runs/b/adapter"), run.output("train")]


def test_what_was_put_together_goes(tmp_path: Path) -> None:
    (tmp_path / ".together").mkdir()
    (tmp_path / ".together" / "adapter_model.safetensors").touch()
    mixed.clear(Work(tmp_path))
    assert list(tmp_path.iterdir()) == []
