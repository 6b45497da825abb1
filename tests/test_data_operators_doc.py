"""docs/data-operators.md: its recipe loads, its table has every operator and option, no other."""

import dataclasses
import re
from pathlib import Path

from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.recipe.operators.declared import NOT_FOR_MAKERS, OPERATORS, Step

TEXT = (RECIPES.parent / "docs" / "data-operators.md").read_text(encoding="utf-8")


def test_its_recipe_loads(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    data = load(file).recipe.data
    assert [list(step) for step in data.sources["dolly"].operators] == [
        ["deny"], ["strip"], ["filter"],
    ]  # fmt: skip
    assert [list(step) for step in data.operators] == [["near_dedup"], ["decontaminate"]]


def test_its_table_is_complete() -> None:
    found = {
        name: re.findall(r"`(\w+)`", options)
        for name, options in re.findall(r"^\| `(\w+)` \| (.*?) \|", TEXT, re.MULTILINE)
    }
    assert list(found) == list(OPERATORS)
    for name, kind in Step.__annotations__.items():
        assert found[name] == [one.name for one in dataclasses.fields(kind)], name


def test_it_names_what_leaves_makers_alone() -> None:
    (listed,) = re.findall(r"left alone by (.*?): they", TEXT, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", listed)) == set(NOT_FOR_MAKERS)
