"""Nothing is spent on what cannot work: told by every verb before its first stage is made."""

import shutil
import signal
import socket
import sys
import urllib.error
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import __main__ as cli
from tools.recipe.compose import RECIPES

Usage = namedtuple("Usage", "total used free")
NO_FP8 = "quantize.format=fp8 hardware.quantize_formats=[none]"  # which check fails
SPENDING = ["train", "merge", "quantize", "eval", "day"]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A call from the repository; ``main`` takes SIGTERM."""
    monkeypatch.chdir(RECIPES.parent)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def made(fake_stages: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that were begun, all replaced."""
    # Else the first record would have the base fetched and hashed.
    monkeypatch.setattr("tools.run.provenance.model_files", lambda model: {})
    return fake_stages


def call(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["oneday", *map(str, words)])
    return cli.main()


@pytest.mark.parametrize("verb", [*SPENDING, "eval --with lm-eval --tasks x"])
def test_what_check_fails_is_not_begun(
    verb: str,
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--runs", tmp_path, "--set", f"train.warmup_ratio=-1 {NO_FP8}"]
    assert call(monkeypatch, *verb.split(), *words) == 2
    told = capsys.readouterr().err
    assert "train.warmup_ratio is -1" in told and "fp8 does not run on cpu" in told
    assert "nothing was spent; mend what fails, or go on in spite of it: FORCE=1" in told
    assert made == [] and list(tmp_path.iterdir()) == []


def test_rows_are_checked_first_where_the_base_model_is_asked(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["data", "--runs", tmp_path, "--set", NO_FP8]
    scored = "data.operators=[{score: {by: base}}, {sample: {below: 1}}]"
    assert call(monkeypatch, *words, "--set", scored) == 2
    assert "fp8 does not run on cpu" in capsys.readouterr().err and made == []
    assert call(monkeypatch, *words) == 0 and made == ["data"]


@pytest.mark.parametrize("verb", ["train", "quantize"])
def test_force_goes_on_and_says_so(
    verb: str,
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--runs", tmp_path, "--set", NO_FP8, "--force"]
    assert call(monkeypatch, verb, *words) == 0
    said = capsys.readouterr().out
    assert "check: FORCE=1, so this is gone past: quantize.format fp8 does not run" in said
    assert made[-1] == verb and said.rstrip().endswith("FORCE=1")


def test_who_does_not_take_part_is_told_the_track(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["train", "--hw", "4090", "--runs", tmp_path, "--set", "model.instruct=true"]
    assert call(monkeypatch, *words) == 2
    assert "SET=hardware.track=none where you do not take part, or FORCE=1" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("verb", ["train", "quantize"])
def test_all_weights_are_trained_where_that_is_said(
    verb: str,
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [verb, "--runs", tmp_path, "--set"]
    assert call(monkeypatch, *words, "~train.adapter") == 2
    assert "train.adapter is not set: it is not said what is to be trained" in (
        capsys.readouterr().err
    )
    assert made == []
    assert call(monkeypatch, *words, "train.adapter=null") == 0 and made[-1] == verb


@pytest.mark.parametrize("verb", ["eval", "day"])
@pytest.mark.parametrize(
    ("tier", "said"),
    [
        ("openn:100", "eval.tier openn:100 is not in eval.tiers"),
        ("nowhere.conf", "nowhere.conf"),
    ],
)
def test_a_tier_that_is_none(
    verb: str,
    tier: str,
    said: str,
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, verb, "--runs", tmp_path, "--set", f"eval.tier='{tier}'") == 2
    assert said in capsys.readouterr().err
    assert made == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["eval", "day"])
def test_helms_data_without_a_network(
    verb: str,
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setattr("tools.questions.data.Data.find", lambda self, need: None)
    assert call(monkeypatch, verb, "--runs", tmp_path, "--set", "eval.tier='open:100'") == 2
    told = capsys.readouterr().err
    assert "mmlu (" in told and "no network" in told and "make eval DATA=FOLDER" in told
    assert made == [] and list(tmp_path.iterdir()) == []


def test_all_that_is_missing_is_told_at_once(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A disk that is full and a HELM that is not installed, before the rows are made."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, 0))
    monkeypatch.setenv("ONEDAY_HELM_VENV", str(tmp_path / "nowhere"))
    runs = tmp_path / "runs"
    assert call(monkeypatch, "day", "--runs", runs) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and "the disk has 0.00 GB for this run" in told[0]
    assert "HELM is not installed" in told[1]
    assert made == [] and not runs.exists()


def test_what_is_made_is_not_looked_at(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk does not keep a finished training from being merged."""
    assert call(monkeypatch, "train", "--runs", tmp_path) == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, 0))
    assert call(monkeypatch, "merge", "--runs", tmp_path) == 0
    assert made == ["data", "train", "merge"]


def test_an_adapter_that_is_not_there(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["day", "--runs", tmp_path, "--set", "serve.adapters={law: nowhere}"]
    assert call(monkeypatch, *words) == 2 and made == []
    assert "serve.adapters.law: nowhere: holds no adapter_config.json" in capsys.readouterr().err


def test_a_port_that_is_taken(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "quantize", "--runs", tmp_path) == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert call(monkeypatch, "serve", "--runs", tmp_path, "--port", port) == 2
    assert f"cannot use port {port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Qwen/Qwen2.5-1.5B", "add source, family, licence, instruct, context, eos, pad"),
        ("Qwen/Qwen2.5-7B", "compose its layer, defaults: [..., models/qwen2.5-7b]"),
    ],
)
@pytest.mark.parametrize("verb", ["check", "plan", "train"])
def test_a_model_changed_by_its_id(
    verb: str,
    name: str,
    said: str,
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine = tmp_path / "my.yaml"
    mine.write_text(f"defaults: [4090]\nmodel: {{id: {name}}}\n")
    ways = (["--recipe", mine], ["--hw", "4090", "--set", f"model.id={name}"])
    for way in ways:
        assert call(monkeypatch, verb, "--runs", tmp_path / "runs", *way) == 2
        told = capsys.readouterr().err
        assert f"{name} is another model than mistralai/Mistral-7B-v0.1" in told and said in told
    assert made == []


def test_a_rebuild_is_checked_too(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = ["--set", NO_FP8]
    assert call(monkeypatch, "train", "--runs", tmp_path, *wrong, "--force") == 0
    made.clear()
    words = ["reproduce", "--run", tmp_path / "cpu", "--into", tmp_path / "again"]
    assert call(monkeypatch, *words) == 2 and made == []
    assert "fp8 does not run on cpu" in capsys.readouterr().err


def test_the_makefile_hands_force_on() -> None:
    from tools.arguments import SPENDING as verbs

    text = (RECIPES.parent / "Makefile").read_text(encoding="utf-8")
    recipes = [line for line in text.splitlines() if line.startswith("\t@$(TOOLS) ")]
    with_it = {line.split()[1] for line in recipes if "$(FORCED)" in line}
    assert with_it == set(verbs)


def test_what_the_gate_asks_is_looked_for_first(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ONEDAY_HELM_VENV", str(tmp_path / "nowhere"))
    runs = tmp_path / "runs"
    assert call(monkeypatch, "quantize", "--runs", runs, "--set", "quantize.tier=quick") == 2
    assert capsys.readouterr().err.count("HELM is not installed") == 1
    assert made == [] and not runs.exists()
    assert call(monkeypatch, "quantize", "--runs", runs) == 0 and made[-1] == "quantize"
