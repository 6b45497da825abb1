"""The submission verb."""

from pathlib import Path

from tools.arguments import Args
from tools.check.findings import refuse_failed
from tools.console import say
from tools.package.pack import package
from tools.recipe.verbs import asked
from tools.run.asked import run_of


def submission(args: Args) -> None:
    """Pack a finished run into one folder and zip that strangers can build and run."""
    refuse_failed(asked(args))
    say(package(run_of(args), Path(args.dist)).render())
