"""docs/sweep.md: its commands are run on its recipe, its table is the section as it is."""

import dataclasses
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.recipe.schema import Axis, Sweep

ROOT = RECIPES.parent
TEXT = (ROOT / "docs" / "sweep.md").read_text(encoding="utf-8")
WRITTEN = ("chosen", "work")  # not to be set


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    return [re.sub(r"\s+# .*", "", line) for block in blocks for line in block.splitlines()]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    file = tmp_path / "my.yaml"
    file.write_text(block)
    return file


def test_there_are_commands() -> None:
    assert len(commands()) == 2


@pytest.mark.parametrize("command", commands())
def test_command_runs(command: str, recipe: Path) -> None:
    words = [*shlex.split(command.replace("my.yaml", str(recipe))), "--silent"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if "plan" in command:
        assert "sweep: 0:23:46 of the day (sweep.share 0.4): 12 trials to " in done.stdout


def test_the_table_is_the_section(recipe: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:`(\S+)`)? ?\|", TEXT, re.MULTILINE)
    fields = [one for one in dataclasses.fields(Sweep) if one.name not in WRITTEN]
    assert [name for name, _ in rows] == [one.name for one in fields]
    for (name, said), one in zip(rows[1:], fields[1:], strict=True):
        assert said == (
            f"{one.default:g}" if isinstance(one.default, float) else str(one.default)
        ), name
    assert {one.name for one in dataclasses.fields(Axis)} == {"values", "range", "log"}
    assert load(recipe).recipe.sweep is not None
