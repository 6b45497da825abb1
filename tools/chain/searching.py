"""The sweep among the stages: between the rows and the training, where a recipe has one."""

from pathlib import Path

from tools.arguments import Args
from tools.chain import ahead, stages
from tools.console import duration, say
from tools.day import budget
from tools.recipe.load import Loaded
from tools.recipe.verbs import as_written, asked
from tools.run.folder import SWEEP, Run
from tools.sweep.space import Values


def found(args: Args) -> Loaded:
    """The recipe with what its sweep found; the search is made where it is missing.

    A recipe without a sweep is given as it is, and so is one that was written with what was found.
    """
    loaded = as_written(args)
    if loaded.recipe.sweep is None or loaded.recipe.sweep.work:
        return loaded
    run = Run(loaded.recipe, Path(args.runs))
    if run.done(SWEEP):
        say(f"sweep: up to date ({run.output(SWEEP)})")
    else:
        _search(args, loaded, run)
    return asked(args)


def _search(args: Args, loaded: Loaded, run: Run) -> None:
    from tools.base_model import folder
    from tools.run.provenance import model_files
    from tools.sweep.stage import sweep

    def compose(values: Values) -> Loaded:
        return as_written(args, values)

    ahead.look(run, ["train"])
    stages.run_missing(loaded, Path(args.runs), "data")
    folder.local_folder(run.recipe.model)
    model_files(run.recipe.model)  # remembered: a download and its hashing are not the GPU's time
    with budget.alone(run), stages.offline(run):
        limit = budget.day(run).limit(SWEEP)
        say(f"sweep: {duration(limit)} of the day for {loaded.recipe.sweep.trials} trials")  # type: ignore[union-attr]
        with budget.clock(run).spend(SWEEP, run.fingerprint(SWEEP), limit) as allowance:
            sweep(run, compose, stages.make, allowance)
    say(f"sweep: made {run.output(SWEEP)} in {stages.seconds(run, SWEEP):.0f} s")
