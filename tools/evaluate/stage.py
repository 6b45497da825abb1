"""The eval verb: the real HELM asks the worker the tier's questions and scores the answers.

HELM lives in a venv of its own (its pins clash with Axolotl's). What it writes stays whole in the
stage's folder, so ``helm-server --suite oneday`` shows every prompt and answer there;
``scores.json`` is the extract.
"""

import json
import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tools.console import say
from tools.errors import UserError
from tools.evaluate.helm.log import plain
from tools.evaluate.helm.programs import OUTPUT, PLUGIN, Asked, Helm, run_folders
from tools.evaluate.helm.programs import venv as helm_venv
from tools.evaluate.measured import Measured, measured
from tools.evaluate.worker import serving
from tools.questions import tiers
from tools.questions.conf import Entry
from tools.questions.data import Data
from tools.recipe.faults import nearest
from tools.recipe.run_entries import HIDDEN, parts, without_model
from tools.recipe.schema import Recipe
from tools.run.folder import RECORD, Run, read_json, write_json
from tools.score.suites import main_split

__all__ = ["PLUGIN", "evaluate", "expand", "failed", "helm_venv", "read_scores"]

Score = dict[str, Any]
Who = Literal["base", "tuned"]

WHO: tuple[Who, ...] = ("base", "tuned")
MODEL = "neurips/local"  # HELM's deployment for the challenge's wire contract
SCORES = "scores.json"
METRICS = "metrics.json"  # what the worker's output rules did, and its memory, for the report

# A scenario's main metric is the first of these it has; the order matters to none that HELM ships.
HEADLINES = (
    "exact_match",
    "exact_match_indicator",
    "exact_set_match",
    "math_equiv_chain_of_thought",
    "rouge_2",
    "rouge_l",
)
ALSO = ("quasi_exact_match", "final_number_exact_match", "f1_score", "f1_set_match")


def evaluate(recipe: Recipe, run: Run, who: Who, model: Path) -> dict[str, Score]:
    """Make ``eval/base/`` or ``eval/tuned/``; an interrupted evaluation goes on where it was.

    Run specs that failed are noted in the stage's record (see ``failed``). With them it is whole
    but not done: the next call asks them again, and only these.

    Args:
        recipe: the resolved recipe.
        run: its run folder; the data stage must be done.
        who: whether ``model`` is the base or the tuned model.
        model: folder of the model to serve.

    Returns:
        By run spec: ``metric``, ``value``, ``split``, ``instances``, ``seconds_per_answer`` and
        ``also`` (other metrics of interest).

    Raises:
        UserError: HELM is not installed, knows no such tier or entry, or its data cannot be had.
        StageError: the worker or HELM died, or not one run spec could be scored.
    """
    venv = helm_venv()
    entries = entries_of(recipe, run, venv)
    data = Data([entry.description for entry in entries], recipe.eval.data)
    data.fetch()
    worker_log = run.logs / f"worker_{who}.log"
    _go_on(run, who)
    with run.produce(f"eval_{who}", resume=True) as work:
        helm = Helm(venv, work.folder, run.logs / f"eval_{who}.log", worker_log)
        data.link(work.folder / OUTPUT)
        with serving(model, recipe.serve, recipe.hardware.device, worker_log) as url:
            asked = Asked(entries, recipe.eval, run.output("data"), data.online)
            missing, minutes = _timed(helm, url, asked)
            _keep(work.folder / METRICS, measured(url))  # the worker's figures end with it
        helm.summarize()
        scores = read_scores(helm.runs)
        write_json(work.folder / SCORES, scores)
        values = {name: score["value"] for name, score in scores.items()}
        work.note(tier=recipe.eval.tier, minutes=minutes, helm_data=data.digests(), scores=values)
        work.note(failed=missing)
        data.unlink(work.folder / OUTPUT)  # before the outputs are hashed: data is none of them
    but = f", {len(missing)} failed" if missing else ""
    say(f"eval: {who}: {len(scores)} run specs scored{but}; {run.output(f'eval_{who}') / SCORES}")
    return scores


def ready(recipe: Recipe) -> None:
    """Look for all that an evaluation needs but the rows and the model; get what data is not there.

    Raises:
        UserError: HELM is not installed, knows no such tier or entry, or its data cannot be had.
    """
    entries = _known(recipe, helm_venv())
    Data([entry.description for entry in entries], recipe.eval.data).fetch()


def failed(run: Run, who: Who) -> dict[str, str]:
    """The run specs that an evaluation has no score of, by name, each with its cause."""
    record = run.record(f"eval_{who}") or {}
    found: dict[str, str] = record.get("metrics", {}).get("failed", {})
    return found


def _go_on(run: Run, who: Who) -> None:
    """Let an evaluation in which run specs failed go on from a copy: HELM skips what is there.

    The scores stay in their place until there are better ones, whatever happens meanwhile.
    """
    final, unfinished = (get(f"eval_{who}") for get in (run.output, run.unfinished))
    record = run.record(f"eval_{who}")
    same = record and record["fingerprint"] == run.fingerprint(f"eval_{who}")
    if not (same and failed(run, who)) or unfinished.exists():
        return
    copy = unfinished.with_name(f"{unfinished.name}.copy")  # a crash must not leave a part of it
    shutil.rmtree(copy, ignore_errors=True)
    # With its record the copy would count as whole work that lacks its name only.
    shutil.copytree(final, copy, ignore=shutil.ignore_patterns(RECORD))
    copy.rename(unfinished)


def _keep(path: Path, now: Measured) -> None:
    """Keep the worker's figures, with those of before the failed run specs were asked again."""
    stored = read_json(path) or {}
    before = Measured(stored.get("rules", {}), stored.get("memory", {}))
    whole = now.with_earlier(before)
    write_json(path, {"rules": whole.rules, "memory": whole.memory})


def _timed(helm: Helm, url: str, asked: Asked) -> tuple[dict[str, str], float]:
    """Let HELM ask; what failed, and the minutes that it took."""
    started = time.monotonic()
    missing = helm.ask(url, asked)
    minutes = (time.monotonic() - started) / 60
    limit = asked.eval.limit_minutes
    beyond = "; that is too long" if minutes > limit else ""
    say(f"eval: HELM took {minutes:.1f} min; eval.limit_minutes is {limit:g}{beyond}")
    return missing, round(minutes, 2)


def expand(entries: Iterable[str], skills: list[str]) -> list[str]:
    """Run entries as HELM takes them: with our model, and ``oneday`` once a skill."""
    found = []
    for entry in entries:
        name, words = parts(without_model(entry))
        arguments = ",".join(words)
        each = name == "oneday" and "skill=" not in arguments
        for skill in [f"skill={skill}" for skill in skills] if each else [""]:
            found.append(f"{name}:" + ",".join(filter(None, [skill, arguments, f"model={MODEL}"])))
    return found


def entries_of(recipe: Recipe, run: Run, venv: Path) -> list[Entry]:
    """The tier's entries as HELM takes them, checked before a model is loaded for them.

    What is asked twice, as by ``oneday:skill=x`` and ``oneday``, stands where it comes first.

    Raises:
        UserError: HELM knows no such tier or entry, or it asks nothing.
    """
    skills = _skills(run)
    once: dict[str, Entry] = {}
    for entry in _known(recipe, venv):
        texts = expand([entry.description], skills)
        if not texts:
            say(
                f"eval: {entry.where}: {entry.description} asks nothing: no row was held out for it"
            )
        for text in texts:
            once.setdefault(text, replace(entry, description=text))
    if not once:
        raise UserError(
            f"eval.tier {recipe.eval.tier}: asks nothing: no row was held out; set data.test_rows, "
            "or data.sources.NAME.answer for sets of the hub"
        )
    return list(once.values())


def _known(recipe: Recipe, venv: Path) -> list[Entry]:
    """The tier's entries, each of a run spec that HELM has."""
    found = tiers.entries(recipe.eval)
    if not found:
        raise UserError(f"eval.tier {recipe.eval.tier}: asks nothing; add a HELM run entry")
    known = {"oneday", *HIDDEN, *_run_specs(venv)}
    names = dict.fromkeys((entry.where, parts(entry.description)[0]) for entry in found)
    faults = [
        f"{where}: HELM has no run spec {name!r}{nearest(name, known)}"
        for where, name in names
        if name not in known
    ]
    if faults:
        raise UserError(faults)
    return found


def _run_specs(venv: Path) -> set[str]:
    """The names HELM registers, read from its source: importing HELM takes seconds and its venv."""
    files = venv.glob("lib/python*/site-packages/helm/benchmark/run_specs/*.py")
    declared = re.compile(r'@run_spec_function\("(\w+)"\)')
    return {name for file in files for name in declared.findall(file.read_text(encoding="utf-8"))}


def _skills(run: Run) -> list[str]:
    with (run.output("data") / "test.jsonl").open(encoding="utf-8") as lines:
        return sorted({json.loads(line)["skill"] for line in lines})


def read_scores(runs: Path) -> dict[str, Score]:
    """The scores of all run specs below a suite's folder, by name."""
    scores = {}
    for folder in run_folders(runs):
        stats = read_json(folder / "stats.json")
        if not stats:  # it failed, which is told elsewhere
            continue
        name = plain(folder.name)
        if score := _score(name, stats):
            scores[name] = score
        else:
            say(f"eval: {name} has none of {', '.join(HEADLINES)}: not in the table")
    return scores


def _score(name: str, stats: list[dict[str, Any]]) -> Score | None:
    """What HELM's own tables show: unperturbed, of the split that counts.

    Few questions may all be of the other one; here, unlike in HELM's tables, they are shown.
    """
    plain = [stat for stat in stats if "perturbation" not in stat["name"] and "mean" in stat]
    splits = {stat["name"].get("split") for stat in plain}
    split = main_split(name, plain)
    if split not in splits:
        split = "valid" if split == "test" else "test"
    means = {s["name"]["name"]: s["mean"] for s in plain if s["name"].get("split") == split}
    metric = next((name for name in HEADLINES if name in means), None)
    if metric is None:
        return None
    return {
        "metric": metric,
        "value": means[metric],
        "split": split,
        "instances": round(means["num_instances"]),
        "seconds_per_answer": means.get("inference_runtime"),
        "also": {name: means[name] for name in ALSO if name in means},
    }
