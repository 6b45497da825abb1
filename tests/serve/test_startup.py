"""Mistakes that are told before any process starts."""

import json
import socket
from pathlib import Path

import pytest

from serve.__main__ import main
from serve.startup import StartError, check_model_dir, check_port, load_config, load_text


def test_defaults_file_and_command_line(tmp_path: Path) -> None:
    assert load_config(None, {"port": None}).port == 8080
    file = tmp_path / "serve.json"
    file.write_text(json.dumps({"port": 9000, "context": 512}))
    config = load_config(file, {"port": 9001, "host": None})
    assert (config.port, config.context, config.host) == (9001, 512, "127.0.0.1")


def test_all_faults_of_a_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "serve.json"
    file.write_text(json.dumps({"dedline_s": 5, "zzz": 1, "context": "many", "overflow": "cut"}))
    with pytest.raises(StartError) as caught:
        load_config(file, {})
    faults = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 4
    for part in ("did you mean 'deadline_s'", "valid settings: engine", "context", "truncate_left"):
        assert part in faults


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not JSON"), ("[]", "one JSON object"), (None, "cannot be read")],
)
def test_unreadable_files(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "serve.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StartError, match=message):
        load_config(file, {})


@pytest.mark.parametrize(
    ("name", "value"), [("port", 80), ("context", 1), ("deadline_s", 0), ("threads", -1)]
)
def test_values_out_of_range(name: str, value: int) -> None:
    with pytest.raises(StartError, match=name):
        load_config(None, {name: value})


def test_model_folder(model_dirs: dict[str, Path], tmp_path: Path) -> None:
    check_model_dir(model_dirs["byte_level"])
    with pytest.raises(StartError, match="no such folder"):
        check_model_dir(tmp_path / "none")
    with pytest.raises(StartError) as caught:
        check_model_dir(tmp_path)
    assert len(caught.value.faults) == 3


def test_damaged_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(StartError, match="tokenizer cannot be read"):
        load_text(tmp_path)


def test_port_in_use() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(StartError, match=r"already in use.*--port"):
        check_port("127.0.0.1", taken.getsockname()[1])


def test_exit_code_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for part in ("examples:", "--device", "exit codes", "8080"):
        assert part in shown
