"""docs/quantize.md: its commands are known, its tables and numbers are the code's."""

import dataclasses
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest

from tools.axolotl import QUANTIZATION
from tools.check.rules import compressed as keys
from tools.recipe.load import load
from tools.recipe.schema import QuantFormat, Quantize
from tools.run import compressed

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "quantize.md").read_text(encoding="utf-8")
COMMANDS = [
    re.sub(r"\s+# .*", "", line)
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]
ROWS = [
    [cell.strip(" `") for cell in line.strip("|").split("|")]
    for line in re.findall(r"^\| `\w+` \|.*\|$", TEXT, re.MULTILINE)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command: str) -> None:
    """They run for minutes: the stage itself is run by tests/tools/stages."""
    from tools.__main__ import _parser

    words = [*shlex.split(command), "--dry-run"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        if " -m tools quantize" in line:
            parts = shlex.split(line)
            args = _parser().parse_args(parts[parts.index("tools") + 1 :])
            changes = [change for one in args.set or [] for change in one.split()]
            assert load(ROOT / "recipes" / "cpu.yaml", changes).recipe.quantize.format != "none"


def test_every_format_is_told_with_its_maker() -> None:
    makers = {row[0]: row[2] for row in ROWS if len(row) == 5}
    assert set(makers) == set(get_args(QuantFormat)) - {"auto"}  # which is one of them
    assert {name for name, by in makers.items() if by == "llm-compressor"} == set(
        compressed.FORMATS
    )
    assert {name for name, by in makers.items() if by.startswith("Axolotl")} == set(QUANTIZATION)


def test_every_key_is_told_with_its_default() -> None:
    silent = {field.name: field for field in dataclasses.fields(Quantize)}
    told = {row[0]: row[1] for row in ROWS if len(row) == 3}
    assert set(told) == set(keys.OWN)
    for name, text in told.items():
        field: Any = silent[name]
        made = [] if field.default is dataclasses.MISSING else field.default
        assert text == {"modifier": '""'}.get(name, f"{made:g}" if made or made == 0 else "[]")


def test_what_each_format_takes() -> None:
    usual: dict[str, list[str]] = {}
    for name, form in compressed.FORMATS.items():
        usual.setdefault(form.modifiers[0], []).append(name)
    said = ", ".join(f"`{way}` for {' and '.join(names)}" for way, names in usual.items())
    assert said in TEXT
    assert ", ".join(map(str, compressed.GROUPS[1:-1])) + f" or {compressed.GROUPS[-1]}" in TEXT
    assert f"llm-compressor {compressed.VERSION} asks for transformers" in TEXT
