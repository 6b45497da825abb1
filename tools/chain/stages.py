"""The chain of stages: what is missing is made, in order, each in its own room."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tools.chain import ahead
from tools.console import duration, say
from tools.day import budget
from tools.day.clock import Allowance
from tools.files import write_text
from tools.recipe.load import Loaded
from tools.recipe.schema import Recipe
from tools.recipe.show import show
from tools.run.folder import SOUP, Run, served

CHAIN = ("data", "train", SOUP, "merge", "quantize", "eval_base", "eval_tuned")


def run_missing(loaded: Loaded, runs: Path, last: str, executor: str = "") -> list[str]:
    """Run what is missing of the chain.

    Args:
        loaded: the recipe.
        runs: where run folders live.
        last: the stage to end with.
        executor: what reads the data, such as ``datatrove:4``; empty: this process.

    Returns:
        The names of the stages that were run.
    """
    run = Run(loaded.recipe, runs)
    chain = chain_of(run.recipe)
    wanted = chain[: chain.index(last) + 1]
    ahead.look(run, [name for name in wanted if not run.done(name)])
    made: list[str] = []
    with budget.alone(run):
        write_text(run.path / "recipe.yaml", show(loaded))
        for name in wanted:
            if name == "quantize" and run.recipe.quantize.format == "none":
                continue
            if run.done(name):
                say(f"{name}: up to date ({run.output(name)})")
                continue
            if name.startswith("eval") and not any(one.startswith("eval") for one in made):
                from tools.evaluate.foreseen import foreseen

                say(foreseen(run))
            make(run, name, executor)
            made.append(name)
            say(f"{name}: made {run.output(name)} in {seconds(run, name):.0f} s")
    return made


def chain_of(recipe: Recipe) -> tuple[str, ...]:
    """The stages that a recipe has; most have no soup."""
    return tuple(name for name in CHAIN if name != SOUP or recipe.soup)


def after(stage: str, recipe: Recipe) -> str:
    """The verb that makes what comes after a stage."""
    chain = chain_of(recipe)
    following = chain[chain.index(stage) + 1]
    return "eval" if following.startswith("eval") else following


def seconds(run: Run, name: str) -> float:
    """How long a stage took, by its record."""
    record = run.record(name)
    return float(record["seconds"]) if record else 0.0


def make(run: Run, name: str, executor: str = "") -> Any:
    """Make one stage; what it needs is imported here, so that a chain with nothing to do is quick.

    Args:
        run: whose lock is held.
        name: of the stage.
        executor: what reads the data; empty: this process.
    """
    if name == "data":
        from tools.data.prepare import prepare

        return prepare(run, executor, partial(_base_answers, run))
    if not name.startswith("eval"):
        with offline(run):
            return _on_the_clock(run, name)
    from tools.base_model import folder
    from tools.evaluate.stage import evaluate

    if name == "eval_base":
        return evaluate(run.recipe, run, "base", folder.local_folder(run.recipe.model))
    return evaluate(run.recipe, run, "tuned", run.output(served(run.recipe)))


def _base_answers(run: Run, prompts: Sequence[str], completions: Sequence[str]) -> list[str]:
    """What the base model answers; the worker's modules are loaded by who asks."""
    from tools.evaluate.base_answers import BaseAnswers

    return BaseAnswers(run)(prompts, completions)


@contextlib.contextmanager
def offline(run: Run) -> Iterator[None]:
    """Where nothing is to be fetched nothing shall ask: bitsandbytes looks for kernels on the hub.

    For one stage: HELM, which comes later, may have to load a scenario's data from there.
    """
    chosen = "HF_HUB_OFFLINE" in os.environ or run.recipe.model.source == "hub"
    if not chosen:
        os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if not chosen:
            os.environ.pop("HF_HUB_OFFLINE", None)


def _on_the_clock(run: Run, name: str) -> Any:
    """Make a stage whose time is the day's; those after training may take what there is no more."""
    from tools.base_model import folder
    from tools.run.provenance import model_files

    base = folder.local_folder(run.recipe.model)
    model_files(run.recipe.model)  # remembered: a download and its hashing are not the GPU's time
    day = budget.day(run)
    if name == "train":
        from tools.stages.preflight import preflight

        preflight(run, base, day)  # off the ledger: what is refused costs nothing of the day
    with budget.clock(run).spend(name, run.fingerprint(name), day.limit(name)) as allowance:
        made = _call(run, name, allowance)
    if (left := budget.day(run).left) < 0:
        say(f"{name}: the day's {duration(day.total)} are passed by {duration(-left)}")
    return made


def _call(run: Run, name: str, allowance: Allowance) -> Any:
    """The stage's module."""
    if name == "train":
        from tools.stages.train import train

        return train(run, allowance)
    if name == SOUP:
        from tools.stages.soup import soup

        return soup(run)
    if name == "merge":
        from tools.stages.merge import merge

        return merge(run)
    from tools.stages.quantize import quantize

    return quantize(run)
