"""MATH from two files, where HELM would ask the hub; run by HELM's Python."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.tools.evaluate.helm.open_data import make
from tools.evaluate.helm.programs import LOCAL_MATH, venv

SIDE = """
import json, sys
import ubelt
plugin = ubelt.import_module_from_path(sys.argv[1])
from helm.benchmark.scenarios.math_scenario import MATHScenario
scenario = MATHScenario(subject="algebra", level="5", use_chain_of_thought="True")
try:
    found = scenario.get_instances(sys.argv[2])
    shown = [[one.split, one.input.text, one.references[0].output.text] for one in found]
except Exception as error:
    shown = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps(shown))
"""


def instances(folder: Path) -> object:
    command = [str(venv() / "bin/python"), "-c", SIDE, str(LOCAL_MATH.absolute()), str(folder)]
    done = subprocess.run(
        command,
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(tmp_path, ["math:subject=algebra,level=5"])
    return tmp_path / "scenarios/MATH"


def test_helm_asks_from_the_files(folder: Path) -> None:
    found = instances(folder)
    assert isinstance(found, list) and len(found) == 20
    assert {split for split, _, _ in found} == {"train", "test"}
    assert all(text.startswith("What is ") and "\\boxed{" in right for _, text, right in found)


def test_names_the_line_that_is_none(folder: Path) -> None:
    with (folder / "data/test.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"problem": "1 + 1"}\n')
    found = instances(folder)
    assert isinstance(found, str) and found.startswith("ValueError: ")
    assert "test.jsonl:141: no JSON object with problem, level, type, solution" in found


def test_without_them_helm_looks_where_it_did(folder: Path) -> None:
    (folder / "data/test.jsonl").unlink()
    found = instances(folder)
    assert isinstance(found, str) and "hendrycks/competition_math" in found
