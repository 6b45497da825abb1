"""Of what Axolotl prepared, only what is whole is left for the next training."""

from pathlib import Path

import pytest
from datasets import Dataset, load_from_disk

from tools.axolotl.prepared import drop_torn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Dataset.from_dict({"input_ids": [[1, 2], [3]]}).save_to_disk(str(tmp_path / "whole one"))
    return tmp_path


def torn(folder: Path, *, until: int) -> Path:
    """A set of which so many of its three files were written, in the order of ``datasets``."""
    made = folder / "torn"
    Dataset.from_dict({"input_ids": [[1]]}).save_to_disk(str(made))
    order = ["data-00000-of-00001.arrow", "state.json", "dataset_info.json"]
    assert sorted(order) == sorted(path.name for path in made.iterdir())
    for name in order[until:]:
        (made / name).unlink()
    return made


@pytest.mark.parametrize("until", [0, 1, 2])
def test_a_half_is_removed_and_said(
    until: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = torn(folder, until=until)
    assert drop_torn(folder) == folder
    assert not made.exists() and "written by half" in capsys.readouterr().out
    assert load_from_disk(str(folder / "whole one"))["input_ids"] == [[1, 2], [3]]


def test_its_last_file_may_be_cut(folder: Path) -> None:
    made = torn(folder, until=3)
    (made / "dataset_info.json").write_text('{"builder')
    drop_torn(folder)
    assert not made.exists() and (folder / "whole one").is_dir()


def test_there_may_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drop_torn(tmp_path / "nothing") == tmp_path / "nothing"
    assert capsys.readouterr().out == ""
