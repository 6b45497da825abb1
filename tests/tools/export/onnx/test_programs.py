"""ONNX Runtime's environment: found or told how to make it, what is seen of it, its failures."""

import json
import sys
from pathlib import Path

import pytest

from tools.errors import StageError, UserError
from tools.export.onnx import programs


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that holds nothing but names."""
    place = tmp_path / "venv"
    packages = place / "lib" / "python3.12" / "site-packages"
    for name in ("onnxruntime", *programs.EXPORTER, "onnx-9.9.dist-info"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").touch()
    (packages / "onnx-9.9.dist-info" / "METADATA").write_text("Name: onnx\nVersion: 9.9\n")
    (packages / "torch").mkdir()
    (packages / "torch" / "__init__.py").write_text("raise ImportError('of another environment')")
    (place / "bin").mkdir()
    (place / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setenv("ONEDAY_ONNX_VENV", str(place))
    return place


def test_an_environment_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDAY_ONNX_VENV", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"not installed in .*none; install it with: make onnx"):
        programs.ONNX_RUNTIME.needed()


def test_the_exporter_sees_what_it_needs_and_nothing_else(
    venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "writing.py").write_text(
        "import importlib.util, json, sys\n"
        "from importlib.metadata import version\n"
        "asked = json.load(open(sys.argv[1]))\n"
        "torch = importlib.util.find_spec('torch').origin\n"
        "json.dump([asked, version('onnx'), torch], open(asked['folder'] + '/told', 'w'))\n"
    )
    monkeypatch.setattr(programs, "HERE", tmp_path)
    programs.write(tmp_path / "model", tmp_path, "AutoModelForMaskedLM", tmp_path / "log")
    asked, version, torch = json.loads((tmp_path / "told").read_text())
    assert asked["model"] == str(tmp_path / "model") and version == "9.9"
    assert asked["auto_class"] == "AutoModelForMaskedLM" and str(venv) not in torch


def test_a_failure_of_the_exporter_is_one_line(venv: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(StageError, match=r"ONNX exporter failed: \w+Error: .* \(log: "):
        programs.write(tmp_path / "gone", tmp_path, "AutoModelForMaskedLM", log)
    assert "Traceback" in log.read_text()


def test_a_failure_of_the_runtime_shows_its_last_line(venv: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"ONNX Runtime does not run /gone: ModuleNotFoundError"):
        programs.ask({"folder": "/gone"}, tmp_path / "log")
