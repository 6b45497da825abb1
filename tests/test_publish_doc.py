"""docs/publish.md: its commands are known, and what it says is refused is refused."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "publish.md").read_text(encoding="utf-8")
COMMANDS = [
    re.sub(r"\s+# .*", "", line)
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command: str) -> None:
    """Real ones are run by tests/tools/publish on a small run."""
    from tools.__main__ import _parser

    done = subprocess.run(
        [*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (call,) = [line for line in done.stdout.splitlines() if " -m tools publish" in line]
    words = shlex.split(call)
    args = _parser().parse_args(words[words.index("tools") + 1 :])
    assert args.to in ("", "you/my-model") and args.run in ("", "runs/cpu") and args.dist == "dist"


def test_without_a_model_it_says_what_to_do(tmp_path: Path) -> None:
    words = [".venv/bin/python", "-m", "tools", "publish", "--hw", "cpu", "--runs", str(tmp_path)]
    words += ["--dist", str(tmp_path / "dist")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "quantized: missing" in done.stderr
    assert list(tmp_path.iterdir()) == []
