"""The publish verb."""

from pathlib import Path

from tools.arguments import Args
from tools.console import say
from tools.errors import UserError
from tools.report.finished import runs_of
from tools.run.asked import run_of


def publish(args: Args) -> None:
    """Write a folder for the Hugging Face hub, with its model card; nothing is pushed."""
    from tools.publish import folder

    if args.run and (args.recipe or args.set):
        raise UserError(
            f"RUN={args.run}: its folder tells its recipe; leave out RECIPE= and SET=, or RUN="
        )
    run = runs_of({"RUN": args.run}, Path(args.runs))["RUN"] if args.run else run_of(args)
    say(folder.publish(run, Path(args.dist), args.to).render())
