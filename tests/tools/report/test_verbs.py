"""The report verb over its command line."""

import shutil
from pathlib import Path

import pytest

from tests.tools.report.conftest import HOSTILE
from tools.__main__ import _parser
from tools.errors import UserError
from tools.files import read_json
from tools.report.verbs import report
from tools.run.folder import Run


def call(*words: str) -> None:
    report(_parser().parse_args(["report", *words]))


def test_a_run_beside_another(whole: Run, tmp_path: Path) -> None:
    other = tmp_path / "others" / "before"
    shutil.copytree(whole.path, other)
    call("--run", str(whole.path), "--with", str(other))
    found = read_json(whole.path / "report.json")
    assert found["parts"]["versus"]["with"] == "before"
    assert "Beside another run" in (whole.path / "report.html").read_text()
    assert not (other / "report.html").exists()
    call("--run", str(whole.path))
    assert "versus" not in read_json(whole.path / "report.json")["parts"]
    page = (whole.path / "report.html").read_text()
    assert "Beside another run" not in page and HOSTILE not in page


def test_a_recipe_beside_a_run_is_a_fault() -> None:
    with pytest.raises(UserError, match="its folder tells its recipe"):
        call("--run", "runs/cpu", "--set", "data.seed=1")
