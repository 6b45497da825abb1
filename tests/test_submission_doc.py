"""docs/submission.md: its commands are known, its tables say what the program does."""

import dataclasses
import re
import shlex
import subprocess
import typing
from pathlib import Path

import pytest

from tests.tools.rehearse.test_rehearsal import STEPS
from tools.package.pack import LIMIT_MB
from tools.recipe.load import load
from tools.recipe.schema import Publish

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "submission.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [re.sub(r"\s+# .*", "", line) for line in lines]


@pytest.mark.parametrize("command", [one for one in commands() if one.startswith("make")])
def test_make_and_the_verb_know_the_words(command: str) -> None:
    from tools.__main__ import _parser

    dry = [*shlex.split(command), "--dry-run"]
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\\\n", " ").splitlines()
    (call,) = [line for line in lines if " -m tools " in line]
    _parser().parse_args(shlex.split(call.partition(" -m tools ")[2]))


def test_the_recipe_shown_loads(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    file = tmp_path / "my.yaml"
    file.write_text(f"defaults: [cpu]\n{block}")
    assert load(file).recipe.publish.id == "you/name"


def first_cells(after: str) -> list[str]:
    table = re.search(r"(?:^\|.*\n)+", TEXT[TEXT.index(after) :], re.MULTILINE)
    assert table
    return [line.split("|")[1].strip() for line in table[0].splitlines()[2:]]


def test_sources_are_all_there() -> None:
    kinds = typing.get_args(typing.get_type_hints(Publish)["source"])
    assert {cell.strip("`") for cell in first_cells("| `publish.source`")} == set(kinds) - {""}
    keys = {field.name for field in dataclasses.fields(Publish)}
    assert all(f"`{key}`" in TEXT for key in keys - {"source"})


def test_steps_are_all_there() -> None:
    assert first_cells("| step |") == STEPS


def test_the_limit_is_the_real_one() -> None:
    assert f"may have {LIMIT_MB:g} MB" in TEXT
