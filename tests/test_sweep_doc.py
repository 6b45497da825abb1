"""docs/sweep.md: its commands are run on its recipe, its table is the section as it is."""

import dataclasses
import re
from pathlib import Path

import pytest

from tests import pages
from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.recipe.schema import Axis, Sweep

ROOT = RECIPES.parent
TEXT = (ROOT / "docs" / "sweep.md").read_text(encoding="utf-8")
WRITTEN = ("chosen", "work")  # not to be set


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return pages.recipe(TEXT, tmp_path)


def test_there_are_commands() -> None:
    assert len(pages.commands(TEXT)) == 2


@pytest.mark.parametrize("command", pages.commands(TEXT))
def test_command_runs(command: str, recipe: Path) -> None:
    done = pages.run(command, recipe)
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
