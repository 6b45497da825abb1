"""A child of an export that fails: its last word, or the signal that ended it."""

import os
import sys
from pathlib import Path

import pytest

from tools.errors import StageError
from tools.export.child import run_child

ENDS = {
    "print('well'); raise SystemExit('no such layer')": "export: it broke: no such layer (log: ",
    "print('well', flush=True); import os; os.kill(os.getpid(), 9)": "it broke: SIGKILL ended it",
    "raise SystemExit(3)": "export: it broke: no word (log: ",
}


@pytest.mark.parametrize("script", ENDS)
def test_why_it_ended(script: str, tmp_path: Path) -> None:
    with pytest.raises(StageError) as caught:
        run_child([sys.executable, "-c", script], dict(os.environ), tmp_path / "log", "it broke")
    assert ENDS[script] in str(caught.value)


def test_it_went_well(tmp_path: Path) -> None:
    run_child([sys.executable, "-c", "print('well')"], dict(os.environ), tmp_path / "log", "x")
    assert (tmp_path / "log").read_text() == "well\n"
