"""Two models asked the same tier, question by question: what one lost of the other's score.

Of no stage of its own: the quantize stage asks here whether its model may be served. HELM's files,
with every prompt and answer, stay in the run's logs (``logs/gate/WHO/benchmark_output``).
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from tools.console import say
from tools.errors import StageError
from tools.evaluate.helm.programs import OUTPUT, Asked, Helm
from tools.evaluate.helm.programs import venv as helm_venv
from tools.evaluate.stage import entries_of
from tools.evaluate.worker import serving
from tools.questions.data import Data
from tools.recipe.schema import Recipe
from tools.run.folder import Run
from tools.score import bootstrap, suites

# By run spec, what each of its questions scored, in the order of their ids.
Values = dict[str, list[float | None]]


def ask(run: Run, tier: str, models: Mapping[str, Path]) -> dict[str, Any]:
    """Ask both models the tier.

    Args:
        run: its data stage is done.
        tier: as in ``eval.tier``.
        models: two folders by name, such as ``merged`` and ``quantized``; the second is held
            against the first.

    Returns:
        ``tier``, the mean score of each by its name, ``drop`` and ``drop_interval`` (the middle
        95 %, question by question), ``questions``, ``run_specs``, and ``failed`` by run spec.

    Raises:
        UserError: HELM is not installed, or knows no such tier or entry.
        StageError: the worker or HELM died, or no question was answered by both.
    """
    recipe = replace(run.recipe, eval=replace(run.recipe.eval, tier=tier))
    found: dict[str, Values] = {}
    failed: dict[str, str] = {}
    for who, model in models.items():
        say(f"quantize: HELM asks the {who} model {tier}")
        found[who], missing = _answers(recipe, run, who, model)
        failed |= missing
    first, second = models
    return {"tier": tier, **compared(found, first, second), "failed": failed}


def compared(found: Mapping[str, Values], first: str, second: str) -> dict[str, Any]:
    """Means over run specs, and their difference over the questions that both answered.

    Raises:
        StageError: there are none.
    """
    pairs = {
        name: [
            (a, b)
            for a, b in zip(values, found[second][name], strict=True)
            if a is not None and b is not None
        ]
        for name, values in found[first].items()
        if len(found[second].get(name, [])) == len(values)
    }
    pairs = {name: each for name, each in pairs.items() if each}
    if not pairs:
        raise StageError("quantize: no question of quantize.tier was answered by both models")
    one, other = (
        fmean(fmean(pair[at] for pair in each) for each in pairs.values()) for at in (0, 1)
    )
    lost = [[a - b for a, b in each] for each in pairs.values()]
    return {
        first: one,
        second: other,
        "drop": one - other,
        "drop_interval": list(bootstrap.of_mean(lost)),
        "questions": sum(map(len, lost)),
        "run_specs": len(lost),
    }


def _answers(recipe: Recipe, run: Run, who: str, model: Path) -> tuple[Values, dict[str, str]]:
    """What each question scored, and the run specs that failed with their causes."""
    venv = helm_venv()
    entries = entries_of(recipe, run, venv)
    data = Data([entry.description for entry in entries], recipe.eval.data)
    data.fetch()
    logs = run.logs / "gate"
    folder, worker_log = logs / who, logs / f"worker_{who}.log"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    helm = Helm(venv, folder, logs / f"{who}.log", worker_log)
    data.link(folder / OUTPUT)
    with serving(model, recipe.serve, recipe.hardware.device, worker_log) as url:
        missing = helm.ask(url, Asked(entries, recipe.eval, run.output("data"), data.online))
    data.unlink(folder / OUTPUT)
    specs, _ = suites.read(helm.runs)
    return {spec.name: _values(spec) for spec in specs if spec.stats}, missing


def _values(spec: suites.Spec) -> list[float | None]:
    """Its questions by its first metric, unperturbed where a scenario has others."""
    asked = suites.wanted(spec)
    first = dict([next(iter(asked.items()))]) if asked else {}
    return next(iter(suites.instance_values(spec, first).values()), [])
