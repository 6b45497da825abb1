"""docs/sources.md: its recipes load, its commands run, its tables are what there is."""

import random
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tools.check import catalogue
from tools.data.prepare import prepare
from tools.data.skills import GRADED, SKILLS
from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.run.folder import Run

ROOT = RECIPES.parent
TEXT = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
EXAMPLES = dict(
    zip(
        ("logic.yaml", "named.yaml", "fields.yaml"),
        re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL),
        strict=True,
    )
)
FORMATS = {"letter": "letter", "string": "text", "number": "number"}


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    return [re.sub(r"\s+# .*", "", line) for block in blocks for line in block.splitlines()]


def rows(heading: str) -> dict[str, list[str]]:
    """The table under a heading: other cells by the first one."""
    table = re.search(r"(?:^\|.*\n)+", TEXT[TEXT.index(f"## {heading}\n") :], re.MULTILINE)
    assert table
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[0].splitlines()]
    return {row[0].strip("`"): row[1:] for row in cells[2:]}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for name, text in EXAMPLES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", commands())
def test_command_runs(command: str, mine: Path) -> None:
    for name in EXAMPLES:
        command = command.replace(f"RECIPE={name}", f"RECIPE={shlex.quote(str(mine / name))}")
    done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_generator_is_in_the_table() -> None:
    table = rows("Generators")
    assert list(table) == list(SKILLS)
    for name, (levels, _, answer, grows) in table.items():
        graded = GRADED.get(name)
        assert levels == (f"1-{graded.hardest}" if graded else "-")
        assert grows == (graded.grows if graded else "-")
        assert FORMATS[SKILLS[name](random.Random(0)).format] == answer


def test_the_recipe_makes_its_rows(mine: Path) -> None:
    run = Run(load(mine / "logic.yaml").recipe, mine)
    counts = prepare(run)
    assert counts["by_source"].keys() == set(SKILLS)
    assert counts["by_source"]["chat"] == 200 and counts["by_source"]["ordering"] == 600
    text = (run.output("data") / "test.jsonl").read_text(encoding="utf-8")
    assert {f'"skill": "{name}"' for name in SKILLS} <= set(re.findall(r'"skill": "\w+"', text))


def test_every_named_set_is_in_the_table() -> None:
    found = {file.stem: catalogue.read(file) for file in catalogue.files()}
    assert rows("Named sets") == {
        f"data/catalogue/{name}": [
            one.id, one.licence, one.commit[:7] or "-", ", ".join(one.unverified) or "-",
            f"`{one.shape}`",
        ]
        for name, one in found.items()
    }  # fmt: skip


def test_the_fields_that_are_shown_leave_rows_out(mine: Path) -> None:
    recipe = mine / "mine.yaml"
    recipe.write_text("defaults: [4090, fields]\n", encoding="utf-8")
    source = load(recipe).recipe.data.sources["natural_instructions"]
    task = "task687_mmmlu_answer_generation_college_chemistry"
    assert catalogue.left_out(source, "task_name", task)
    assert not catalogue.left_out(source, "task_name", "task380_boolq_yes_no_question")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
