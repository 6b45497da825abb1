"""The score verb."""

import json
from pathlib import Path

from tools.arguments import Args
from tools.console import say
from tools.score import scoring


def score(args: Args) -> None:
    """The organizers' score of published results, HELM suites and runs, and what would raise it."""
    entries = scoring.collect([Path(path) for path in args.files], Path(args.runs))
    ranking = scoring.score(entries)
    if args.json:
        say(json.dumps(scoring.as_json(ranking, args.entry), indent=1))
    else:
        say(scoring.render(ranking, args.entry))
