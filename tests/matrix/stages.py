"""Cells of the stages: the product's own verbs on a family's tiny folder, as a user calls them.

The cells of a family share a folder: what is trained for one of them is there for the next.
"""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

from tests.e2e import kinds
from tests.e2e.conftest import ENV, ROOT, call
from tests.matrix.table import Cell
from tests.torture import PROSE, differing
from tools.run.folder import RECORD

CONTRACT = "tests/contract/test_families.py"
SCENARIO, QUESTIONS = "synthetic_reasoning:mode=pattern_match", 2
#: The quick tier, cut to that.
ASKED = f'eval.tiers.quick=["{SCENARIO},max_eval_instances={QUESTIONS}"]'
LAST = 12  # lines of what a program printed, told where it failed
MEANING = {
    "train": "python -m tools train: loss of the first step, and on held-out rows at the end",
    "killed": "kill -9 behind a checkpoint, and the same command again: the same bytes; from which "
    "step of how many it went on",
    "again": "the same recipe in another folder, by another process: the same bytes",
    "serve": f"{CONTRACT}, asked of a server of its own: checks that passed",
    "helm": f"python -m tools eval, {QUESTIONS} questions of {SCENARIO}: score of the tuned model, "
    "and in brackets how many it answered; of two HELM scores one",
}


def cell(family: str, column: str, folder: Path) -> Cell:
    """What the table says of a stage, and what is wrong, empty where nothing is.

    Args:
        family: of ``tests.kin``.
        column: of :data:`MEANING`.
        folder: shared by the cells of a family.
    """
    return CELLS[column](family, folder)


def recipe_of(family: str, folder: Path) -> Path:
    """The family's recipe, and the base that it names; written once."""
    made = folder / f"{family}.yaml"
    return made if made.exists() else kinds.write(folder, family)


def done(verb: str, family: str, runs: Path, *sets: str) -> str:
    """Call a verb on the family's recipe, to its end; what it printed.

    Raises:
        AssertionError: it failed.
    """
    ended = call(verb, recipe_of(family, runs.parent), runs, *sets)
    if ended.returncode:
        raise AssertionError(f"tools {verb} ended with {ended.returncode}:\n{last(ended.stdout)}")
    return ended.stdout


def last(printed: str) -> str:
    """The end of what a program printed, for the lines below the table."""
    return "\n".join(f"  | {line}" for line in printed.splitlines()[-LAST:])


def alone(family: str, folder: Path) -> Path:
    """The adapter of a run that nobody disturbed; trained once."""
    adapter = folder / "alone" / family / "adapter"
    if not adapter.exists():  # it gets its name when it is whole
        done("train", family, folder / "alone")
    return adapter


def _train(family: str, folder: Path) -> Cell:
    found = kinds.metrics(alone(family, folder))
    # Not the last step's: where an encoder's masks lie differs, and a batch has only a few.
    first, end = found["first_loss"], found["eval_loss"]
    return f"{first:.2f}>{end:.2f}", "" if end < first else "the loss did not fall"


def _killed(family: str, folder: Path) -> Cell:
    whole, runs = alone(family, folder), folder / "killed"
    kinds.killed(recipe_of(family, folder), runs)
    found = re.search(r"going on from step (\d+)", done("train", family, runs))
    if not found:
        return "ANEW", "the run that was killed did not go on from its checkpoint"
    steps = kinds.metrics(whole)["planned_steps"]
    return _compared(whole, runs / family / "adapter", f"{found[1]}/{steps}")


def _again(family: str, folder: Path) -> Cell:
    whole, runs = alone(family, folder), folder / "again"
    done("train", family, runs)
    aside = {RECORD, *PROSE}
    files = [one for one in whole.rglob("*") if one.is_file() and one.name not in aside]
    return _compared(whole, runs / family / "adapter", f"{len(files)} files")


def _compared(one: Path, other: Path, figure: str) -> Cell:
    names = differing(one, other)
    fault = f"not the same bytes: {', '.join(names)}" if names else ""
    return ("DIFFERS", fault) if fault else (f"same, {figure}", "")


def _serve(family: str, folder: Path) -> Cell:
    report = folder / "contract.xml"
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", CONTRACT, f"--junitxml={report}"],
        cwd=ROOT,
        env={**ENV, "ONEDAY_CONTRACT_FAMILIES": family},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if not report.exists():
        raise AssertionError(f"pytest ended with {ended.returncode}:\n{last(ended.stdout)}")
    return judged(report)


def judged(report: Path) -> Cell:
    """How many checks passed, by pytest's report, and the names of those that did not."""
    cases = list(ET.parse(report).getroot().iter("testcase"))
    if not cases:
        return "0 of 0", "not one check was made"
    # One that was left out has not passed either.
    parts = [(case.get("name"), part.tag) for case in cases for part in case]
    bad = {name: tag for name, tag in parts if tag in ("failure", "error", "skipped")}
    told = ", ".join(f"{name} {tag}" for name, tag in bad.items())
    said = f"{len(cases) - len(bad)} of {len(cases)}"
    return said, f"of {len(cases)} checks {len(bad)} did not pass: {told}" if bad else ""


def _helm(family: str, folder: Path) -> Cell:
    alone(family, folder)
    done("eval", family, folder / "alone", ASKED)
    tuned = folder / "alone" / family / "eval" / "tuned"
    (score,) = json.loads((tuned / "scores.json").read_text(encoding="utf-8")).values()
    answers = sum(map(len, kinds.recorded(tuned).values()))
    fault = "" if answers == QUESTIONS else f"HELM has {answers} answers, of {QUESTIONS} questions"
    return f"{score['value']:.2f} ({answers})", fault


CELLS: dict[str, Callable[[str, Path], Cell]] = {
    "train": _train,
    "killed": _killed,
    "again": _again,
    "serve": _serve,
    "helm": _helm,
}
