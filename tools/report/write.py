"""The report verb: all of a run on one page that needs no network, and the same as JSON."""

from collections.abc import Sequence
from pathlib import Path

from tools.files import write_json, write_text
from tools.report.gathered.source import Source
from tools.run.folder import Run

PAGE, DATA = "report.html", "report.json"


def report(
    run: Run, pool: Sequence[Path] = (), options: str = "", beside: Run | None = None
) -> Path:
    """Write ``report.html`` and ``report.json`` into the run folder, and return the page's path.

    Args:
        run: its folder holds at least one finished stage; what is missing the page says.
        pool: results of others to rank this run among, as ``make score`` takes them; without any,
            the other runs beside this one.
        options: the recipe as Make takes it, such as `` HW=cpu``, for the commands on the page.
        beside: another run, for the section that compares the two.

    Raises:
        UserError: nothing was made in the run folder yet, or its manifest is damaged.
    """
    from tools.report.drawn.page import render
    from tools.report.gathered.gather import gather

    other = Source(beside) if beside else None
    found = gather(Source(run, tuple(pool), other), options)
    write_json(run.path / DATA, found)
    write_text(run.path / PAGE, render(found))
    return run.path / PAGE
