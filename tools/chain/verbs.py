"""The verbs that run the chain, whole or up to a stage: day, data, train, merge, quantize, eval."""

import contextlib
import json
import sys
import time
from pathlib import Path

from tools.arguments import Args, same
from tools.chain import searching, stages
from tools.check.findings import refuse_failed
from tools.console import say
from tools.errors import StageError
from tools.recipe.load import Loaded
from tools.recipe.operators import declared as operators
from tools.recipe.schema import Recipe
from tools.recipe.verbs import as_written, asked
from tools.run.asked import folder_of, run_of
from tools.run.folder import Run
from tools.sweep.stage import of


def data(args: Args) -> None:
    """Make the training, validation and test rows."""
    if args.executor:
        from tools.data.spread.executor import asked as executor

        executor(args.executor)  # a slip in it is told also where all is up to date
    _up_to(args, "data", args.executor)


def train(args: Args) -> None:
    """Train the adapter with Axolotl (goes on from the last whole checkpoint)."""
    _up_to(args, "train")


def sweep(args: Args) -> None:
    """Search for the values to train with, as the recipe's sweep says, in a part of the day."""
    loaded = as_written(args)
    of(loaded.recipe)
    refuse_failed(loaded, args.force)
    searching.found(args)
    say(f"next: make day{same(args)}")


def soup(args: Args) -> None:
    """Average the adapter with others, as the recipe's soup says, where that is better."""
    from tools.stages.soup import of as section

    section(as_written(args).recipe)
    _up_to(args, "soup")


def merge(args: Args) -> None:
    """Add the adapter to the base model."""
    _up_to(args, "merge")


def quantize(args: Args) -> None:
    """Put the merged model into the served format."""
    _up_to(args, "quantize")


def evaluate(args: Args) -> None:
    """Serve base and tuned model, score both with HELM (or lm-eval), print the table."""
    loaded = asked(args)
    refuse_failed(loaded, args.force)
    if args.using == "lm-eval":
        from tools.evaluate.verbs import lm_eval

        return lm_eval(args)
    _evaluated(searching.found(args), args)
    run = run_of(args)
    _table(run)
    _refuse_failed_specs(run, args)


def day(args: Args) -> None:
    """The whole chain, from the rows to the report."""
    from tools.report.verbs import report

    started = time.monotonic()
    loaded = asked(args)
    refuse_failed(loaded, args.force)
    made = _evaluated(searching.found(args), args)
    run = run_of(args)
    _table(run)
    if not made:
        say(f"day: everything in {run.path} is up to date, nothing was run")
    _times(run, made, time.monotonic() - started)
    if made or not (run.path / "report.html").is_file():
        report(args)
    say(f"next: make serve{same(args)}")
    _refuse_failed_specs(run, args)


def reproduce(args: Args) -> None:
    """Rebuild a run from its manifest alone in a fresh folder, and compare."""
    from tools.rebuild import reproduce as rebuild

    folder = folder_of(args)
    into = Path(args.into) if args.into else folder.with_name(f"{folder.name}-again")

    def look(recipe: Recipe) -> None:
        refuse_failed(Loaded(recipe, {}, []), args.force)

    with contextlib.redirect_stdout(sys.stderr):  # what the stages say; stdout is the comparison's
        found = rebuild.reproduce(folder, into, stages.make, look=look)
    say(json.dumps(found.as_json(), indent=1) if args.json else found.render())
    if code := found.exit_code:
        sys.exit(code)


def _up_to(args: Args, last: str, executor: str = "") -> None:
    loaded = asked(args)
    rows = loaded.recipe.data
    # Rows alone cost nothing of the day, but where the base model is asked about them.
    if last != "data" or operators.asks_base(rows.operators, rows.sources):
        refuse_failed(loaded, args.force)
    if last != "data":
        loaded = searching.found(args)
    stages.run_missing(loaded, Path(args.runs), last, executor)
    say(f"next: make {stages.after(last, loaded.recipe)}{same(args)}")


def _evaluated(loaded: Loaded, args: Args) -> list[str]:
    """Run what is missing of the whole chain; the names of what was run."""
    return stages.run_missing(loaded, Path(args.runs), stages.CHAIN[-1])


def _times(run: Run, made: list[str], total: float) -> None:
    parts = [f"{name} {stages.seconds(run, name):.0f} s" for name in made]
    if parts:
        say(f"day: {total:.0f} s in all: " + ", ".join(parts))


def _table(run: Run) -> None:
    """The scores, and whether the questions asked are in the training rows."""
    from tools.evaluate import contamination
    from tools.evaluate.table import table

    say(table(run))
    say("\n" + contamination.render(contamination.contamination(run)))


def _refuse_failed_specs(run: Run, args: Args) -> None:
    """The end of an evaluation in which run specs failed: all else was done and shown before."""
    from tools.evaluate.stage import WHO, failed

    if names := {name for who in WHO for name in failed(run, who)}:
        raise StageError(
            f"eval: {len(names)} run specs failed, each is named below the table with its cause; "
            f"this asks for them again, and only them: make eval{same(args)}"
        )
