"""docs/evaluation.md and docs/lint.md: their commands are known, what they name is there."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tools.__main__ import _parser

ROOT = Path(__file__).resolve().parents[1]
DOCS = {name: (ROOT / "docs" / name).read_text("utf-8") for name in ("evaluation.md", "lint.md")}


def commands() -> list[str]:
    blocks = [
        b for text in DOCS.values() for b in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    ]
    lines = [line for block in blocks for line in block.splitlines()]
    return [re.sub(r"\s+# .*", "", line) for line in lines if line.startswith("make ")]


def test_there_are_commands() -> None:
    verbs = {command.split()[1] for command in commands()}
    assert verbs >= {"eval", "score", "report", "lint-submission"}


@pytest.mark.parametrize("command", commands())
def test_make_and_the_parser_know_them(command: str) -> None:
    dry = [*shlex.split(command), "--dry-run"]
    done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = done.stdout.replace("\\\n", " ")
    calls = [line for line in text.splitlines() if " -m tools " in line or "benchmarks" in line]
    assert calls
    for call in calls:
        words = shlex.split(call)
        if "tools" in words:
            _parser().parse_args(words[words.index("tools") + 1 :])


def test_score_over_make(tmp_path: Path) -> None:
    pool = tmp_path / "pool.json"
    metrics = [{"GSM8K - EM": 0.1}, {"GSM8K - EM": 0.2}]
    entries = [{"entry": str(at), "metrics": each} for at, each in enumerate(metrics)]
    pool.write_text(json.dumps({"entries": entries}))
    command = ["make", "--silent", "score", f"POOL={pool}", "JSON=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [one["mean_win_rate"]["GSM8K"] for one in json.loads(done.stdout)] == [0.0, 0.5]


def test_a_folder_over_make_and_the_programs_are_still_found(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("")
    command = ["make", "--silent", "lint-submission", f"PATH={tmp_path}", "JSON=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "dockerfile" in json.loads(done.stdout)[0]["rule"]


@pytest.mark.parametrize("name", list(DOCS))
def test_files_and_links_exist(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)", DOCS[name]):
        assert target.startswith("http") or (ROOT / "docs" / target).exists(), target
    for path in re.findall(r"`((?:tools|tests)/[\w/.]+)`", DOCS[name]):
        assert (ROOT / path).exists(), path
