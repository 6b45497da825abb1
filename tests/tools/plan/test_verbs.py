"""The plan verb asks check before it measures on the card, and only then."""

from pathlib import Path

import pytest

from tools.arguments import parser
from tools.errors import UserError
from tools.plan import probe
from tools.plan.verbs import plan

WRONG = "quantize.format=int8_int4"  # no format of a 4090


def asked(runs: Path, *words: str) -> None:
    plan(parser({"plan": ""}).parse_args(["plan", "--hw", "4090", "--runs", str(runs), *words]))


def test_a_probe_of_what_check_fails_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(probe, "report", lambda found, runs: "probed")
    with pytest.raises(UserError, match="int8_int4"):
        asked(tmp_path, "--probe", "--set", WRONG)
    assert "probed" not in capsys.readouterr().out
    asked(tmp_path, "--probe", "--force", "--set", WRONG)
    assert "probed" in capsys.readouterr().out


def test_planning_alone_asks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(tmp_path, "--set", WRONG)
    assert "GiB" in capsys.readouterr().out
