"""Mistakes that are told before any process starts."""

import json
import socket
from pathlib import Path

import pytest

from serve.__main__ import main
from serve.config import Match, Rule
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
    ("name", "value"),
    [
        ("port", 80),
        ("context", 1),
        ("max_batch", 0),
        ("cache_tokens", -1),
        ("prefill_tokens", 15),
        ("max_queue", 0),
        ("max_body", 999),
        ("deadline_s", 0),
        ("drain_s", -0.1),
        ("threads", -1),
    ],
)
def test_values_out_of_range(name: str, value: float) -> None:
    with pytest.raises(StartError, match=f"command line: {name}: must be .*not {value}"):
        load_config(None, {name: value})


def test_all_faults_deeper_down_at_once(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "adapter_config.json").write_text("{}")
    rules = {
        "choice": {"match": {"promt": "x", "max_new_tokens": 0}, "extract": "[A-J]"},
        "math": {"adaptor": "x", "adapter": "hole", "match": {"prompt": "("}},
    }
    adapters = {"whole": str(tmp_path / "whole"), "empty": str(tmp_path)}
    file = tmp_path / "serve.json"
    file.write_text(json.dumps({"rules": rules, "adapters": adapters, "zzz": 1}))
    with pytest.raises(StartError) as caught:
        load_config(file, {})
    said = [
        "unknown setting 'rules.choice.match.promt'; did you mean 'rules.choice.match.prompt'?",
        "unknown setting 'rules.math.adaptor'; did you mean 'rules.math.adapter'?",
        "unknown setting 'zzz'; valid settings: engine",
        f"adapters.empty: {tmp_path} has no adapter_config.json",
        "rules.choice.match.max_new_tokens: must be at least 1",
        "rules.choice.extract: has no group",
        "rules.math.match.prompt: '(' is no regular expression",
        "rules.math.adapter: serve.adapters has no hole; did you mean whole?",
    ]
    assert len(caught.value.faults) == len(said), caught.value.faults
    for fault, part in zip(caught.value.faults, said, strict=True):
        assert fault.startswith(f"{file}: {part}")


def test_wrong_types_deeper_down(tmp_path: Path) -> None:
    file = tmp_path / "serve.json"
    file.write_text(json.dumps({"rules": {"a": {"stop": "x"}, "b": 5}, "adapters": []}))
    with pytest.raises(StartError) as caught:
        load_config(file, {})
    faults = "\n".join(caught.value.faults)
    for key in ("rules.a.stop", "rules.b", "adapters"):
        assert f"{file}: {key} = " in faults


def test_rules_of_a_file_are_rules(tmp_path: Path) -> None:
    file = tmp_path / "serve.json"
    file.write_text(json.dumps({"rules": {"a": {"match": {"max_new_tokens": 1}, "cut": ["x"]}}}))
    assert load_config(file, {}).rules == {"a": Rule(Match(max_new_tokens=1), cut=["x"])}


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
