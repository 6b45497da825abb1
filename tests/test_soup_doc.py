"""docs/soup.md: its commands are run on its recipe, its table is the section as it is."""

import dataclasses
import re
import shlex
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.recipe.schema import Soup
from tools.recipe.souping import Average

ROOT = RECIPES.parent
TEXT = (ROOT / "docs" / "soup.md").read_text(encoding="utf-8")


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
