"""HELM as the organizers called it: 30 requests at once, entries that need no download."""

import dataclasses
import json
import shutil
import statistics
import time
from pathlib import Path

from tools.errors import UserError
from tools.evaluate.helm.programs import Asked, Helm, run_folders, venv
from tools.questions import tiers
from tools.questions.conf import Entry
from tools.recipe.load import load
from tools.recipe.schema import Eval
from tools.rehearse.checks import TOGETHER, Failed, NotTried

QUESTIONS = 10  # a run spec
OURS = "oneday"  # entries that ask the run's own rows, which a submission does not hold


def helm(url: str, folder: Path, logs: Path) -> str:
    """Let HELM ask the quick tier and count what it got.

    Args:
        url: of the container.
        folder: the submission, whose recipe has the tier.
        logs: HELM's folder and log are put there.
    """
    try:
        scripts = venv()
    except UserError as missing:
        raise NotTried(str(missing)) from None
    asked = _quick(folder)
    work = logs / "helm"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    programs = Helm(scripts, work, logs / "helm.log", logs / "container.log")
    started = time.monotonic()
    programs.ask(url, Asked(_entries(asked), asked, work))
    took = time.monotonic() - started
    programs.summarize()
    return _counted(programs.runs, took)


def _quick(folder: Path) -> Eval:
    """The quick tier of the submission's own recipe, asked as the organizers would."""
    recipes = [path for path in (folder / "recipes").glob("*.yaml") if path.name != "rules.yaml"]
    if len(recipes) != 1:
        raise NotTried(f"{folder}/recipes: holds {len(recipes)} recipes, not one")
    found = load(recipes[0]).recipe.eval
    return dataclasses.replace(
        found, tier="quick", max_instances=QUESTIONS, threads=TOGETHER, data=""
    )


def _entries(asked: Eval) -> list[Entry]:
    found = []
    for entry in tiers.entries(asked):
        name, _, rest = entry.description.partition(":")
        if name != OURS:
            words = ",".join(filter(None, (rest, "model=neurips/local")))
            found.append(dataclasses.replace(entry, description=f"{name}:{words}"))
    if not found:
        raise NotTried("the recipe's quick tier asks the run's own rows only")
    return found


def _counted(runs: Path, took: float) -> str:
    """How many questions were answered, and how fast."""
    seconds: list[float] = []
    folders = run_folders(runs)
    for folder in folders:
        state = json.loads((folder / "scenario_state.json").read_text(encoding="utf-8"))
        for one in state["request_states"]:
            if not one["result"]["success"]:
                raise Failed(f"{folder.name}: a request failed: {one['result'].get('error')}")
            seconds.append(one["result"]["request_time"])
    return (
        f"{len(folders)} run specs, {len(seconds)} questions in {took:.0f} s, none failed; median "
        f"{statistics.median(seconds):.2f} s a question"
    )
