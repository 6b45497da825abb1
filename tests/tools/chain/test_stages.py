"""The order of the stages: a soup comes behind the training where a recipe has one."""

import sys
from pathlib import Path

import pytest

from tests.tiny import recipe
from tools import __main__ as cli
from tools.chain import stages
from tools.recipe.load import Loaded
from tools.recipe.schema import Soup

SOUPED = Soup(checkpoints=2)


@pytest.fixture(autouse=True)
def unlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.chain.ahead.look", lambda run, missing: None)


@pytest.mark.parametrize(
    ("soup", "wanted"),
    [(None, ["data", "train", "merge"]), (SOUPED, ["data", "train", "soup", "merge"])],
)
def test_up_to_the_merge(
    soup: Soup | None, wanted: list[str], fake_stages: list[str], tmp_path: Path
) -> None:
    loaded = Loaded(recipe(soup=soup), {}, [])
    assert stages.run_missing(loaded, tmp_path, "merge") == wanted == fake_stages
    assert stages.run_missing(loaded, tmp_path, "merge") == []


def test_an_edit_of_the_soup_trains_nothing(fake_stages: list[str], tmp_path: Path) -> None:
    for gain in (0.0, 0.1):
        made = recipe(soup=Soup(checkpoints=2, min_gain=gain))
        stages.run_missing(Loaded(made, {}, []), tmp_path, "merge")
    assert fake_stages == ["data", "train", "soup", "merge", "soup", "merge"]


@pytest.mark.parametrize(
    ("stage", "soup", "verb"),
    [
        ("train", None, "merge"),
        ("train", SOUPED, "soup"),
        ("soup", SOUPED, "merge"),
        ("quantize", SOUPED, "eval"),
    ],
)
def test_the_next_verb(stage: str, soup: Soup | None, verb: str) -> None:
    assert stages.after(stage, recipe(soup=soup)) == verb


def test_a_recipe_without_a_soup_is_told_how(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["oneday", "soup", "--runs", str(tmp_path)])
    assert cli.main() == 2
    assert "cpu: the recipe has no soup; name its members, as in docs/soup.md" in (
        capsys.readouterr().err
    )
