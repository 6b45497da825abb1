"""What a page of docs/ shows: its commands, and the recipe that they are called with."""

import re
import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def commands(text: str) -> list[str]:
    """The lines of its bash blocks, without remarks."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [re.sub(r"\s+# .*", "", line) for block in blocks for line in block.splitlines()]


def recipe(text: str, folder: Path) -> Path:
    """Its one recipe, as ``my.yaml`` in a folder."""
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    file = folder / "my.yaml"
    file.write_text(block)
    return file


def run(command: str, mine: Path) -> "subprocess.CompletedProcess[str]":
    """Call a command of the page with the recipe."""
    words = [*shlex.split(command.replace("my.yaml", str(mine))), "--silent"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
