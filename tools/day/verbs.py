"""The clock verb."""

import json

from tools.arguments import Args
from tools.console import say
from tools.day.budget import as_json, render
from tools.run.asked import run_of


def clock(args: Args) -> None:
    """What is used and left of the day, and what is going on?"""
    run = run_of(args)
    say(json.dumps(as_json(run), indent=1) if args.json else render(run))
