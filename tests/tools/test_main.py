"""The command line: exit codes, messages, and which stages a verb runs."""

import errno
import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools import __main__ as cli
from tools.arguments import Args
from tools.chain import stages, verbs
from tools.day.clock import Allowance, Clock
from tools.errors import StageError, UserError
from tools.recipe.compose import RECIPES
from tools.run.folder import Run

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
    def verb(args: Args) -> None:
        if error:
            raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, 0, ""),
        (UserError(["one", "two"]), 2, "error: one\nerror: two\n"),
        (StageError("broken"), 1, "error: broken\n"),
        (KeyboardInterrupt(), 130, "interrupted; stages that are whole are kept"),
        (KeyboardInterrupt("step 9 is kept"), 130, "interrupted; step 9 is kept\n"),
        (OSError(errno.ENOSPC, "full"), 1, "full; free the disk or mend the folder's rights\n"),
        (PermissionError(errno.EACCES, "no"), 1, "no; free the disk or mend the folder's rights\n"),
        (FileNotFoundError(errno.ENOENT, "gone"), 1, "gone; make verify RUN="),
        (OSError("no file named model.safetensors"), 1, "named model.safetensors\n"),
    ],
)
def test_exit_codes(
    error: BaseException | None,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tools.recipe.verbs.show", end(error))
    assert call(monkeypatch, "show") == code
    assert said in capsys.readouterr().err


def test_a_polite_kill_ends_like_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    kill = "tools.recipe.verbs.show"
    monkeypatch.setattr(kill, lambda args: signal.raise_signal(signal.SIGTERM))
    assert call(monkeypatch, "show") == 130


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_verb_has_a_body_that_says_the_same(name: str) -> None:
    verb = cli.VERBS[name]
    body = getattr(importlib.import_module(verb.room), verb.body)
    assert body.__doc__ == (verb.help if verb.help.endswith("?") else f"{verb.help}.")


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


NO_FP8 = "hardware.quantize_formats=[none,nf4]"


def test_check_fails_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        raise SystemExit(call(monkeypatch, "check", "--set", f"quantize.format=fp8 {NO_FP8}"))
    assert caught.value.code == 2
    assert "quantize.format fp8 does not run on cpu" in capsys.readouterr().out
    assert call(monkeypatch, "check") == 0


HEAVY = ("torch", "transformers", "axolotl", "datasets", "litserve")


@pytest.mark.parametrize("verb", ["show", "check", "plan", "clock"])
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
def made(fake_stages: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages run, all replaced; no table, no report."""
    monkeypatch.setattr(verbs, "_table", lambda run: None)
    monkeypatch.setattr("tools.report.verbs.report", lambda args: None)
    monkeypatch.setattr("tools.evaluate.foreseen.foreseen", lambda run: "")  # there are no rows
    return fake_stages


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
    words = f"quantize.format=fp8 {NO_FP8}"
    assert call(monkeypatch, "day", "--runs", tmp_path, "--set", words) == 2
    assert made == [] and list(tmp_path.iterdir()) == []
    assert "does not run on cpu" in capsys.readouterr().err


def test_a_second_call_waits_for_the_first(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tools.recipe.load import load

    with Run(load(RECIPES / "cpu.yaml").recipe, tmp_path).lock():
        assert call(monkeypatch, "data", "--runs", tmp_path) == 2
    assert made == [] and "in use by process" in capsys.readouterr().err


def served(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that ``serve`` would have become."""
    found: list[list[str]] = []
    monkeypatch.setattr(os, "execvpe", lambda file, words, env: found.append(words))
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


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Allowance]:
    """Modules of the stages, each replaced by one that writes a file; what training was allowed."""
    seen: dict[str, Allowance] = {}

    def stage(name: str) -> Any:
        def make(run: Run, *given: Any) -> None:
            with run.produce(name) as work:
                (work.folder / "file").write_text(name)
            for one in given:
                if isinstance(one, Allowance):
                    seen[name] = one

        return make

    monkeypatch.setattr("tools.data.prepare.prepare", stage("data"))
    for name in ("train", "merge", "quantize"):
        monkeypatch.setattr(f"tools.stages.{name}.{name}", stage(name))
    monkeypatch.setattr("tools.base_model.folder.local_folder", lambda model: tmp_path)
    return seen


def spent(runs: Path, stage: str, seconds: float, *overrides: str) -> None:
    """Put an interval of an earlier process into the ledger of the cpu recipe."""
    from tools.recipe.load import load

    run = Run(load(RECIPES / "cpu.yaml", overrides).recipe, runs)
    run.path.mkdir(exist_ok=True)
    line: dict[str, Any] = {"id": os.urandom(8).hex(), "event": "stop", "stage": stage}
    line |= {"work": run.fingerprint(stage), "seconds": seconds, "wall": "", "pid": 1}
    with (run.path / "clock.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_the_gpus_stages_are_on_the_clock(
    stubs: dict[str, Allowance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent(tmp_path, "train", 100)
    assert call(monkeypatch, "quantize", "--runs", tmp_path) == 0
    intervals = Clock(tmp_path / "cpu" / "clock.jsonl").intervals()
    assert [one.stage for one in intervals] == ["train", "train", "merge", "quantize"]
    assert all(one.ended for one in intervals)
    assert stubs["train"].spent == 100 and stubs["train"].limit == 3600 - 36


def test_a_download_is_off_the_clock(
    stubs: dict[str, Allowance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, on_the_clock = tmp_path / "cpu" / "clock.jsonl", []

    def local_folder(model: object) -> Path:
        on_the_clock.append(ledger.exists())
        return tmp_path

    monkeypatch.setattr("tools.base_model.folder.local_folder", local_folder)
    assert call(monkeypatch, "train", "--runs", tmp_path) == 0
    assert on_the_clock[0] is False and ledger.exists()


def test_a_used_up_day_trains_no_more_but_is_finished(
    stubs: dict[str, Allowance],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spent(tmp_path, "train", 3600 - 36)
    assert call(monkeypatch, "merge", "--runs", tmp_path) == 2 and stubs == {}
    said = capsys.readouterr().err
    assert "nothing of the 1:00:00 is left to train (train 0:59:24, " in said
    assert "Traceback" not in said
    assert call(monkeypatch, "train", "--runs", tmp_path, "--set", "budget.hours=1.1") == 0
    spent(tmp_path, "train", 60)
    assert call(monkeypatch, "merge", "--runs", tmp_path) == 0
    said = capsys.readouterr().out
    assert re.search(r"merge: the day's 1:00:00 are passed by 0:00:2[45]\n", said)


def test_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spent(tmp_path, "train", 100)
    spent(tmp_path, "train", 7, "train.learning_rate=1")
    assert call(monkeypatch, "clock", "--runs", tmp_path) == 0
    said = capsys.readouterr().out
    assert "0:01:40 of 1:00:00 used" in said and "not counted 0:00:07" in said
    assert call(monkeypatch, "clock", "--runs", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["used"]["train"] == 100


def test_clock_of_a_run_that_is_not_there_makes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(monkeypatch, "clock", "--runs", tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_who_is_refused_learns_what_the_other_is_at(
    made: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tools.recipe.load import load

    run = Run(load(RECIPES / "cpu.yaml").recipe, tmp_path)
    with run.lock(), Clock(run.path / "clock.jsonl").spend("train", "a", 1):
        assert call(monkeypatch, "train", "--runs", tmp_path) == 2
    said = capsys.readouterr().err
    assert re.search(rf"in use by process {os.getpid()}; .* \(train, since 20\d\d-.*\)\n", said)
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("verb", ["verify", "reproduce"])
@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_a_run_folder_that_is_none(
    verb: str, folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, verb, "--run", folder) == 2
    assert f"error: RUN={folder}: no such folder" in capsys.readouterr().err


def test_verify(
    stubs: dict[str, Allowance],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call(monkeypatch, "train", "--runs", tmp_path)
    assert call(monkeypatch, "verify", "--run", tmp_path / "cpu") == 0
    assert "every hash holds" in capsys.readouterr().out
    (tmp_path / "cpu" / "adapter" / "file").write_text("truin")
    assert call(monkeypatch, "verify", "--run", tmp_path / "cpu") == 1
    assert "adapter/file" in capsys.readouterr().err


@pytest.mark.parametrize("code", [0, 1])
def test_reproduce(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def rebuild(folder: Path, into: Path, make: Any, look: Any) -> Any:
        seen.append((folder, into, make))
        print("what a stage says")
        return SimpleNamespace(exit_code=code, render=lambda: "so", as_json=lambda: {"so": code})

    monkeypatch.setattr("tools.rebuild.reproduce.reproduce", rebuild)
    for words in (["--into", tmp_path / "there"], ["--json"]):
        try:
            assert call(monkeypatch, "reproduce", "--run", tmp_path, *words) == code
        except SystemExit as end:
            assert end.code == code
    assert [into for _, into, _ in seen] == [
        tmp_path / "there",
        tmp_path.with_name(f"{tmp_path.name}-again"),
    ]
    assert all(folder == tmp_path and make is stages.make for folder, _, make in seen)
    assert capsys.readouterr().out == f'so\n{{\n "so": {code}\n}}\n'


POOL = """{"source": "made up", "track": "none", "entries": [
 {"entry": "one", "metrics": {"MMLU - EM": 0.5, "GSM8K - EM": 0.1}},
 {"entry": "two", "metrics": {"MMLU - EM": 0.4, "GSM8K - EM": 0.2}}]}"""


def test_score_of_a_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = tmp_path / "pool.json"
    pool.write_text(POOL)
    assert call(monkeypatch, "score", pool, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["entry"] for one in found] == ["one", "two"]
    assert found[0]["mean_win_rate"]["MMLU"] == 0.5
    assert call(monkeypatch, "score", pool, "--entry", "three") == 2
    assert "ENTRY=three: nobody is called so" in capsys.readouterr().err


def test_lint_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "main.py").write_text("")
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, "lint-submission", tmp_path)
    assert caught.value.code == 1 and "Dockerfile" in capsys.readouterr().out
    assert call(monkeypatch, "lint-submission", "") == 2
    assert "PATH: none given" in capsys.readouterr().err


def test_lm_eval_wants_tasks_and_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--with", "lm-eval", "--runs", tmp_path]
    assert call(monkeypatch, *words) == 2
    assert "TASKS: none given" in capsys.readouterr().err
    assert call(monkeypatch, *words, "--tasks", "arc_easy") == 2
    assert "not made yet; first: make quantize HW=cpu" in capsys.readouterr().err


def test_a_submission_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--runs", tmp_path, "--dist", tmp_path / "dist"]
    assert call(monkeypatch, "submission", *words) == 2
    assert "not finished: data, train, merge, quantize missing" in capsys.readouterr().err
    assert call(monkeypatch, "rehearse", *words) == 2
    assert "has no Dockerfile" in capsys.readouterr().err
