"""Each command of the README does what it is there for: quick ones run here, the rest elsewhere."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = ("", "recipes", "tools", "serve", "docs", "tests")
# Run for real by tests/e2e on a tiny recipe (`make test` is what runs this very file): here Make
# only has to know the target, and tools to take the options.
ELSEWHERE = tuple(
    f"make {verb}"
    for verb in (
        *("day", "test", "preview", "sweep", "train", "serve", "verify", "reproduce"),
        *("eval", "score", "report", "submission", "lint-submission", "rehearse"),
    )
)


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [re.sub(r"\s+#.*", "", line) for line in lines if line.startswith("make ")]


def test_the_readme_has_commands() -> None:
    assert len(commands()) >= 6


@pytest.mark.parametrize("command", [c for c in commands() if not c.startswith(ELSEWHERE)])
def test_quick_command_runs(command: str) -> None:
    done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith(ELSEWHERE)])
def test_long_command_parses(command: str) -> None:
    dry = [*shlex.split(command), "--dry-run"]
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = done.stdout.replace("\\\n", " ")
    calls = [line for line in text.splitlines() if " -m tools " in line]
    for line in calls:
        from tools.__main__ import _parser

        _parser().parse_args(shlex.split(line.partition(" -m tools ")[2]))
    assert calls or "pytest" in done.stdout


def test_own_recipe_of_the_readme_loads(tmp_path: Path) -> None:
    from tools.recipe.load import load

    match = re.search(r"`(defaults: \[.*?\])`", README, re.DOTALL)
    assert match
    recipe = tmp_path / "my.yaml"
    recipe.write_text(match[1] + "\ntrain: {lora_r: 7}\n")
    made = load(recipe).recipe
    assert made.hardware.name == "4090" and made.train["lora_r"] == 7


def test_files_the_readme_names_exist() -> None:
    tree = README.split("## What is where")[1].split("```")[1]
    names = re.findall(r"[\w./]+(?:/|\.(?:py|md|yaml|json|4090|a100)\b)", tree)
    missing = [
        name for name in names if not any((ROOT / folder / name).exists() for folder in FOLDERS)
    ]
    assert names and not missing
