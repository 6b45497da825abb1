"""The command line: exit codes, messages, and which stages a verb runs."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import __main__ as cli
from tools.compose import RECIPES
from tools.errors import StageError, UserError
from tools.run import Run

ROOT = RECIPES.parent


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """``main`` takes SIGTERM; give it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["oneday", *map(str, words)])
    return cli.main()


def end(error: BaseException | None) -> Any:
    def verb(args: cli.Args) -> None:
        if error:
            raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, 0, ""),
        (UserError(["one", "two"]), 2, "error: one\nerror: two\n"),
        (StageError("broken"), 1, "error: broken\n"),
        (KeyboardInterrupt(), 130, "interrupted; what is done is kept"),
    ],
)
def test_exit_codes(
    error: BaseException | None,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(cli.VERBS, "show", end(error))
    assert call(monkeypatch, "show") == code
    assert said in capsys.readouterr().err


def test_a_polite_kill_ends_like_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.VERBS, "show", lambda args: signal.raise_signal(signal.SIGTERM))
    assert call(monkeypatch, "show") == 130


def test_help_names_every_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, "--help")
    assert caught.value.code == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [word for word in listed if word in cli.VERBS] == list(cli.VERBS)


@pytest.mark.parametrize("words", [[], ["frobnicate"], ["show", "--hw", "a100", "--recipe", "x"]])
def test_a_wrong_command_line(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, *words)
    assert caught.value.code == 2


def test_an_unknown_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "show", "--hw", "4091") == 2
    assert "HW=4091: no such card; did you mean 4090?" in capsys.readouterr().err


def test_every_fault_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--set", "train.lora_rr=8", "--set", "serve.prot=1"]
    assert call(monkeypatch, "day", *words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: --set: ") for line in lines)
    assert "did you mean train.lora_r?" in lines[0] + lines[1]


def test_check_fails_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        raise SystemExit(call(monkeypatch, "check", "--set", "quantize.format=fp8"))
    assert caught.value.code == 2
    assert "quantize.format fp8 does not run on cpu" in capsys.readouterr().out
    assert call(monkeypatch, "check") == 0


HEAVY = ("torch", "transformers", "axolotl", "datasets", "litserve")


@pytest.mark.parametrize("verb", ["show", "check", "plan"])
def test_quick_verbs_import_nothing_heavy(verb: str) -> None:
    code = (
        "import sys; from tools.__main__ import main; code = main();"
        f"sys.exit(code or [name for name in {HEAVY} if name in sys.modules] or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, verb], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages run, each replaced by one that writes a file; no table."""
    names: list[str] = []

    def make(run: Run, name: str) -> None:
        with run.produce(name) as work:
            (work.folder / "file").write_text(name)
        names.append(name)

    monkeypatch.setattr(cli, "_make", make)
    monkeypatch.setattr(cli, "_table", lambda run: None)
    return names


ALL = ["data", "train", "merge", "quantize", "eval_base", "eval_tuned"]


@pytest.mark.parametrize(
    ("verb", "wanted", "after"),
    [
        ("data", ALL[:1], "train"),
        ("train", ALL[:2], "merge"),
        ("merge", ALL[:3], "quantize"),
        ("quantize", ALL[:4], "eval"),
        ("eval", ALL, None),
        ("day", ALL, "serve"),
    ],
)
def test_a_verb_runs_what_it_needs_and_says_what_is_next(
    verb: str,
    wanted: list[str],
    after: str | None,
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, verb, "--runs", tmp_path) == 0
    assert made == wanted
    assert (tmp_path / "cpu" / "recipe.yaml").is_file()
    said = capsys.readouterr().out
    assert (f"next: make {after} HW=cpu" in said) if after else ("next:" not in said)
    made.clear()
    assert call(monkeypatch, verb, "--runs", tmp_path) == 0
    assert made == []
    assert all(f"{name}: up to date" in capsys.readouterr().out for name in wanted[:1])


def test_an_edit_runs_what_it_touches(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call(monkeypatch, "day", "--runs", tmp_path)
    made.clear()
    call(monkeypatch, "day", "--runs", tmp_path, "--set", "serve.port=9999")
    assert made == [] and "nothing was run" in capsys.readouterr().out
    call(monkeypatch, "day", "--runs", tmp_path, "--set", "merge.max_logit_error=0.1")
    assert made == ["merge", "quantize", "eval_tuned"]


def test_without_a_format_nothing_is_quantized(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(monkeypatch, "day", "--runs", tmp_path, "--set", "quantize.format=none") == 0
    assert made == [name for name in ALL if name != "quantize"]


def test_a_day_refuses_what_check_fails(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "day", "--runs", tmp_path, "--set", "quantize.format=fp8") == 2
    assert made == [] and list(tmp_path.iterdir()) == []
    assert "does not run on cpu" in capsys.readouterr().err


def test_a_second_call_waits_for_the_first(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tools.recipe import load

    with Run(load(RECIPES / "cpu.yaml").recipe, tmp_path).lock():
        assert call(monkeypatch, "data", "--runs", tmp_path) == 2
    assert made == [] and "in use by process" in capsys.readouterr().err


def served(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that ``serve`` would have become."""
    found: list[list[str]] = []
    monkeypatch.setattr(cli.os, "execvpe", lambda file, words, env: found.append(words))
    return found


def test_serve_before_there_is_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = served(monkeypatch)
    words = ["--set", "data.seed=3", "--set", "serve.port=9000"]
    assert call(monkeypatch, "serve", "--runs", tmp_path, *words) == 2
    said = capsys.readouterr().err
    assert 'first: make quantize HW=cpu SET="data.seed=3 serve.port=9000"' in said
    assert commands == []


@pytest.mark.parametrize(
    ("override", "folder"),
    [
        ("serve.port=9000", "quantized"),
        ("serve.weights=merged", "merged"),
        ("quantize.format=none", "merged"),
    ],
)
def test_serve(
    override: str, folder: str, made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    commands = served(monkeypatch)
    call(monkeypatch, "quantize", "--runs", tmp_path, "--set", override)
    words = ["serve", "--runs", tmp_path, "--set", override]
    assert call(monkeypatch, *words) == 0 and call(monkeypatch, *words, "--port", "9001") == 0
    assert all(str(tmp_path / "cpu" / folder) in command for command in commands)
    config = json.loads((tmp_path / "cpu" / "serve.json").read_text())
    assert config["port"] == 9001
