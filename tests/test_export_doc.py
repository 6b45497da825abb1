"""docs/export.md: its commands are known, its numbers and lists are the code's."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tools.export import asking, merged
from tools.export.onnx import asking as onnx_asking
from tools.export.refusals import BITS
from tools.run.exports import GGUF_TYPES

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
COMMANDS = [
    re.sub(r"\s+# .*", "", line)
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 5


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command: str) -> None:
    """Real ones are run by tests/tools/export where llama.cpp or ONNX Runtime is installed."""
    from tools.__main__ import _parser

    done = subprocess.run(
        [*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    calls = [line for line in done.stdout.splitlines() if " -m tools export" in line]
    assert len(calls) == ("export" in command)
    for call in calls:
        words = shlex.split(call)
        args = _parser().parse_args(words[words.index("tools") + 1 :])
        assert (args.format, args.type) in (("gguf", ""), ("gguf", "F16 Q4_K_M"), ("onnx", ""))


def test_without_a_merged_model_it_says_what_to_do(tmp_path: Path) -> None:
    words = [".venv/bin/python", "-m", "tools", "export", "--hw", "cpu", "--runs", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "make merge HW=cpu RUNS=" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_types_are_the_codes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", TEXT, re.MULTILINE)
    assert [(name, float(bits)) for name, bits in rows] == [(one, BITS[one]) for one in GGUF_TYPES]


def test_numbers_are_the_codes() -> None:
    assert f"one of {merged.TEXTS} held-out texts" in TEXT
    assert f"{asking.STEPS} tokens after one of {asking.PROMPTS} held-out prompts" in TEXT
    tie = asking.TIE
    said = f"{tie['F32']} (F32), {tie['F16']} (F16) or {tie['BF16']} (BF16)"
    assert said in " ".join(TEXT.split())
    told = f"more than {onnx_asking.MOST:g} of the largest one apart from the merged model's"
    assert told in " ".join(TEXT.split())
