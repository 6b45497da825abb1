"""docs/soup.md: its commands are run on its recipe, its table is the section as it is."""

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest

from tests import pages
from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.recipe.schema import Soup
from tools.recipe.souping import Average

ROOT = RECIPES.parent
TEXT = (ROOT / "docs" / "soup.md").read_text(encoding="utf-8")


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
        assert "soup: 4 adapters at most, 7 evaluations of 40 rows" in done.stdout
        assert "of the reserve; the mean has" in done.stdout, "it fits"
        assert "rank 64 at most" in done.stdout


def test_the_table_is_the_section(recipe: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:`(\S+)`)? ?\|", TEXT, re.MULTILINE)
    fields = dataclasses.fields(Soup)
    assert [name for name, _ in rows] == [one.name for one in fields]
    soup = Soup()
    for name, said in rows:
        value = getattr(soup, name)
        assert said == ("" if value == {} else f"{value:g}" if value == 0 else str(value)), name
    assert all(f"**`{average}`**" in TEXT for average in get_args(Average))
    assert load(recipe).recipe.soup == Soup(checkpoints=3)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
