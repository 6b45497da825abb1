"""docs/clock.md: its commands are run, what it shows and lists is what there is."""

import dataclasses
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.tiny import make_run
from tools.day.clock import HEARTBEAT
from tools.recipe.compose import RECIPES
from tools.recipe.schema import Budget

ROOT = RECIPES.parent
TEXT = (ROOT / "docs" / "clock.md").read_text(encoding="utf-8")
# Real trainings: tests/e2e makes them, with a tiny model. Here the command line is parsed.
LONG = ("make quantize", "make torture", "make reproduce")


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    return [re.sub(r"\s+# .*", "", line) for block in blocks for line in block.splitlines()]


def make(command: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*shlex.split(command), "--silent", *words], cwd=ROOT, capture_output=True, text=True
    )


def test_there_are_commands() -> None:
    assert len(commands()) == 6


@pytest.mark.parametrize("command", [c for c in commands() if not c.startswith(LONG)])
def test_command_runs(command: str, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with run.produce("data") as work:
        (work.folder / "train.jsonl").write_text("{}\n")
    done = make(command.replace("RUN=runs/cpu", f"RUN={run.path}"), f"RUNS={tmp_path}")
    assert done.returncode == 0 and done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith(LONG)])
def test_long_command_parses(command: str) -> None:
    from tools.__main__ import _parser

    done = make(command, "--dry-run")
    assert done.returncode == 0, done.stderr
    (call,) = [line for line in done.stdout.splitlines() if re.search(r" -m (tools|tests)\b", line)]
    words = shlex.split(call)
    module = words[words.index("-m") + 1]
    if module == "tools":
        assert _parser().parse_args(words[words.index("tools") + 1 :])
    else:
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()


def test_what_is_shown_is_what_is_said(tmp_path: Path) -> None:
    done = make("make clock HW=cpu", f"RUNS={tmp_path}")
    assert done.stdout.replace(str(tmp_path), "runs") in TEXT


def test_every_target_that_is_named_is_there() -> None:
    for target in set(re.findall(r"`make ([a-z-]+)", TEXT)):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def test_keys_are_all_there() -> None:
    listed = set(re.findall(r"^\| `budget\.(\w+)`", TEXT, re.MULTILINE))
    assert listed == {field.name for field in dataclasses.fields(Budget)}


def test_numbers_are_the_codes() -> None:
    assert f"a beat every {HEARTBEAT:g} seconds" in TEXT
    assert f"loses {HEARTBEAT:g} seconds at the most" in TEXT
