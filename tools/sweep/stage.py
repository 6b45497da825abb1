"""The sweep stage: all trials of a recipe within their share of the day, and what they found."""

import dataclasses
from pathlib import Path
from typing import Any

from tools.console import say
from tools.day import checkpoints
from tools.day.clock import Allowance
from tools.day.rungs import Ladder, ladder
from tools.errors import StageError, UserError
from tools.files import whole_folder, write_json
from tools.plan.trials import seconds
from tools.plan.verdict import plan
from tools.recipe.answer import FILE, question
from tools.recipe.load import Loaded
from tools.recipe.schema import Recipe, Sweep
from tools.recipe.written import tree
from tools.run.folder import SWEEP, Run
from tools.run.souped import MEMBERS
from tools.sweep.search import search
from tools.sweep.seeds import Compared, as_json, chosen, compared, summary, train_again
from tools.sweep.space import Values, text
from tools.sweep.study import Study, Trial, reachable
from tools.sweep.table import Table, render
from tools.sweep.trial import Compose, Make, Trials, drop_checkpoints, hand_over

TRIALS = "trials"  # in the run folder: a folder a sweep, of a folder a trial
TABLE = "trials.json"  # beside the answer: what every trial came to
SPENT = "spent.json"  # and what it had used by then, which is another figure on each machine


def sweep(run: Run, compose: Compose, make: Make, allowance: Allowance) -> dict[str, Any]:
    """Make ``sweep/``: which values are trained with, and the winner's training so far.

    Args:
        run: of the recipe as written; its lock is held, its rows are made.
        compose: loads the recipe with values over its own.
        make: makes a stage of a run whose lock is held.
        allowance: what the sweep may use of the day.

    Returns:
        What is also in the stage's record.

    Raises:
        UserError: not one trial fits, or the database cannot be used.
        StageError: no trial came to a rung, or the database is lost on the way.
    """
    section = of(run.recipe)
    place = place_of(run)
    place.mkdir(parents=True, exist_ok=True)
    url = section.database or f"sqlite:///{(place / 'study.db').absolute()}"
    name = f"{run.recipe.name}/{run.fingerprint(SWEEP)[:12]}"
    study = Study(section, url, name, own(run.recipe))
    study.begin_anew()
    rungs = tuple(study.note("rungs", list(_ladder(run, allowance.limit).rungs)))
    with reachable(), run.produce(SWEEP) as work:
        trials = Trials(run, place, compose, make, rungs, allowance)
        whole = _search(study, trials)
        best = _best(study, whole)
        whole = whole and train_again(study, trials, section.seeds)
        if made := compared(study, run.recipe, section.seeds):
            best = made.winner.trial
        winner = compose(best.values)
        _write(work.folder, run, study, best, rungs, made)
        step = _hand_over(run, place, winner, best)
        for one in _beside(best, study.trials(), _members(run.recipe)):
            _leave(_trial(place, compose(one.values), one), work.folder / MEMBERS)
        work.note(**_metrics(study, best, rungs, whole), step=step)
        drop_checkpoints(place, set())
    say(render(study.trials(), best))
    if made:
        say(summary(made))
    say(_summary(best, rungs, step))
    return work.metrics


def of(recipe: Recipe) -> Sweep:
    """The recipe's sweep.

    Raises:
        UserError: it has none.
    """
    if recipe.sweep is None:
        raise UserError(
            f"{recipe.name}: the recipe has no sweep; name keys to try, as in docs/sweep.md: "
            "sweep: {axes: {train.learning_rate: {log: [1e-4, 1e-2]}}}"
        )
    return recipe.sweep


def place_of(run: Run) -> Path:
    """Where the trials of a run's sweep live; another sweep has another place."""
    return run.path / TRIALS / run.fingerprint(SWEEP)[:12]


def own(recipe: Recipe) -> Values:
    """What the recipe itself has where the axes are, as far as it has it."""
    found: Values = {}
    for key in of(recipe).axes:
        node: Any = {**tree(recipe), "layers": ""}
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            found[key] = node
    return found


def _ladder(run: Run, allowed: float) -> Ladder:
    """The rungs, as the plan has them.

    Raises:
        UserError: the plan does not know how long a training takes, or no trial fits.
    """
    section = of(run.recipe)
    if section.first:
        found = ladder(section, allowed, 0.0)
    else:
        found = ladder(section, *seconds(plan(run.recipe, run.path.parent)))
    if found is None:
        raise UserError(
            f"sweep.share: {allowed:.0f} s are too short for {section.trials} trials; raise "
            "sweep.share or budget.hours, lower sweep.trials, or say how far: sweep.first=0.01"
        )
    return found


def _search(study: Study, trials: Trials) -> bool:
    """Make what is missing of the trials; whether the time was enough for all."""
    place, allowance = trials.place, trials.allowance
    table = Table(study, lambda: allowance.limit - allowance.elapsed())
    trials = dataclasses.replace(trials, heard=table.hear)

    def show() -> None:
        study.told_at(allowance.elapsed())
        table.show()
        running = {one.number for one in study.trials() if one.state == "running"}
        worth = _worth(study.trials(), _members(trials.run.recipe))
        again = chosen(study) if of(trials.run.recipe).seeds > 1 else []
        drop_checkpoints(place, running | {one.number for one in (*worth, *again)})

    try:
        return search(study, trials.attempt, show)
    finally:
        table.close()


def _best(study: Study, whole: bool) -> Trial:
    if best := study.best():
        if not whole:
            made = sum(one.state != "running" for one in study.trials())
            say(f"sweep: its share of the day is over after {made} trials; the best of them wins")
        return best
    told = {one.reason for one in study.trials() if one.reason}
    why = "; ".join(sorted(told)) or "time was over before the first one; raise sweep.share"
    again = "; mend that, and the same command tries them again" if whole else ""
    raise StageError(f"sweep: no trial came to a rung: {why}{again}")


def _members(recipe: Recipe) -> int:
    """How many adapters of trials, beside the winner's, are left to a soup."""
    return recipe.soup.trials if recipe.soup else 0


def _worth(trials: list[Trial], others: int) -> list[Trial]:
    """The best trial, and the next ones of those at the last rung, whose adapters are wanted."""
    ranked = sorted((one for one in trials if one.rank[0]), key=lambda one: one.rank)
    return [*ranked[:1], *[one for one in ranked[1:] if one.state == "done"][:others]]


def _beside(best: Trial, trials: list[Trial], others: int) -> list[Trial]:
    """The trials whose adapters are left; where seeds decided, the best need not be the first."""
    return [one for one in _worth(trials, others) if one.number != best.number][:others]


def _trial(place: Path, loaded: Loaded, trial: Trial) -> Run:
    recipe = dataclasses.replace(loaded.recipe, sweep=None, name=f"{trial.number:03}")
    return Run(recipe, place)


def _hand_over(run: Run, place: Path, winner: Loaded, best: Trial) -> int:
    recipe = dataclasses.replace(winner.recipe, sweep=None, name=run.recipe.name)
    return hand_over(_trial(place, winner, best), Run(recipe, run.path.parent))


def _leave(trial: Run, folder: Path) -> None:
    """Copy the adapter that a trial had at its last rung into a folder, by the trial's number.

    By way of the trial's own: what is killed behind the removal of checkpoints finds it there.
    """
    kept = trial.path / "left"
    if not kept.is_dir():
        with whole_folder(kept) as made:
            checkpoints.copy_adapter(checkpoints.found(trial.unfinished("train"))[0], made)
    checkpoints.copy_adapter(kept, folder / trial.path.name)


def _write(
    folder: Path,
    run: Run,
    study: Study,
    best: Trial,
    rungs: tuple[float, ...],
    made: Compared | None,
) -> None:
    answer = {
        "question": question(run.recipe),
        "work": run.fingerprint(SWEEP),
        "trial": best.number,
        "values": best.values,
    }
    write_json(folder / FILE.name, answer)
    told = [dataclasses.asdict(one) for one in study.trials()]
    for one in told:
        one["told"] = [loss if one["reason"] == "" else None for loss in one["told"]]
    own = study.own()
    table = {"rungs": rungs, "own": own.number if own else None, "trials": told}
    write_json(folder / TABLE, table | ({"seeds": as_json(made)} if made else {}))
    spent = {str(one.number): study.seconds(one) for one in study.trials()}
    write_json(folder / SPENT, {"seconds": spent})


def _metrics(study: Study, best: Trial, rungs: tuple[float, ...], whole: bool) -> dict[str, Any]:
    states = [one.state for one in study.trials()]
    return {
        "trials": len(states),
        "at_the_last_rung": states.count("done"),
        "broken": sum(bool(one.reason) for one in study.trials()),
        "winner": best.number,
        "values": best.values,
        "eval_loss": best.told[-1],
        "rungs": list(rungs),
        "stopped": None if whole else "time",
    }


def _summary(best: Trial, rungs: tuple[float, ...], step: int) -> str:
    share = rungs[len(best.told) - 1]
    goes_on = f"training goes on from its step {step}" if step else "training begins anew"
    return (
        f"sweep: trial {best.number} wins, {text(best.values)}: eval_loss {best.told[-1]:.4f} "
        f"after {share:.1%} of a training; {goes_on}"
    )
