"""Runs named by their folders."""

from pathlib import Path

import pytest

from tests.tiny import make_run
from tools.errors import UserError
from tools.files import read_json, write_json
from tools.report.finished import runs_of
from tools.run.folder import Run
from tools.run.provenance import MANIFEST


def test_a_folder_gives_the_run_as_it_was_made(whole: Run) -> None:
    found = runs_of({"RUN": str(whole.path), "WITH": ""}, whole.path.parent)
    assert list(found) == ["RUN"] and found["RUN"].path == whole.path
    assert found["RUN"].fingerprint("train") == whole.fingerprint("train")


def test_all_faults_in_one_go_with_the_nearest_name(whole: Run, tmp_path: Path) -> None:
    named = {"RUN": str(whole.path.with_name("tyny")), "WITH": str(tmp_path)}
    with pytest.raises(UserError) as caught:
        runs_of(named, tmp_path / "none")
    first, second = caught.value.faults
    assert first.startswith("RUN=") and f"did you mean {whole.path}?" in first
    assert second.startswith("WITH=") and "no manifest.json there" in second
    with pytest.raises(UserError, match=r"did you mean .*tiny"):
        runs_of({"RUN": "tinny"}, whole.path.parent)


def test_a_run_of_another_version_or_of_nothing(whole: Run, tmp_path: Path) -> None:
    empty = make_run(tmp_path / "empty").path
    write_json(empty / MANIFEST, {"stages": []})
    with pytest.raises(UserError, match="nothing was made there yet"):
        runs_of({"RUN": str(empty)}, tmp_path)
    stored = read_json(whole.path / MANIFEST)
    stored["contents"] = {key: {} for key in stored["contents"]}
    write_json(whole.path / MANIFEST, stored)
    with pytest.raises(UserError, match="its recipe does not suit this version"):
        runs_of({"RUN": str(whole.path)}, tmp_path)
