"""The report verb."""

from pathlib import Path

from tools.arguments import Args, same
from tools.console import say
from tools.report.write import report as write
from tools.run.asked import run_of


def report(args: Args) -> None:
    """Write report.html: all of a run on one page, and report.json beside it."""
    pool = [Path(path) for path in getattr(args, "pool", ())]  # make day has no POOL=
    say(f"report: {write(run_of(args), pool, same(args))}")
