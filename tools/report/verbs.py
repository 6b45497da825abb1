"""The report verb."""

import shlex
from pathlib import Path

from tools.arguments import Args, same
from tools.console import say
from tools.errors import UserError
from tools.report.finished import runs_of
from tools.report.write import report as write
from tools.run.asked import run_of
from tools.run.folder import Run


def report(args: Args) -> None:
    """Write report.html: all of a run on one page, and report.json beside it."""
    # make day has no words of its own for a report.
    run, beside = (getattr(args, name, "") for name in ("run", "beside"))
    if run and (args.recipe or args.set):
        raise UserError(
            f"RUN={run}: its folder tells its recipe; leave out RECIPE= and SET=, or leave out RUN="
        )
    named = runs_of({"RUN": run, "WITH": beside}, Path(args.runs))
    mine = named["RUN"] if run else run_of(args)
    pool = [Path(path) for path in getattr(args, "pool", ())]
    options = _recipe(mine) if run else same(args)
    say(f"report: {write(mine, pool, options, named.get('WITH'))}")


def _recipe(run: Run) -> str:
    """The recipe of a run that was named by its folder, as Make takes it."""
    runs = run.path.parent.as_posix()
    where = "" if runs == "runs" else f" RUNS={shlex.quote(runs)}"
    return f" RECIPE={shlex.quote(f'recipes/{run.recipe.name}.yaml')}{where}"
