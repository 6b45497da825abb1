"""The plan verb."""

import json
import sys
from pathlib import Path

from tools.arguments import Args
from tools.console import say
from tools.plan import points, propose, remedy, several, trials, verdict
from tools.recipe.verbs import asked


def plan(args: Args) -> None:
    """Predict memory, speed, hours and disk: does it fit the card and the day?"""
    if args.points:
        return _points(args)
    runs, loaded = Path(args.runs), asked(args)
    if args.probe:  # minutes of the card
        from tools.check.findings import refuse_failed

        refuse_failed(loaded, args.force)
    found = verdict.plan(loaded.recipe, runs)
    faster = propose.proposals(found, runs)
    if args.json:
        offers = remedy.as_json(remedy.changes(found, runs))
        more = {"changes": offers, "proposals": propose.as_json(faster)}
        planned = {**verdict.as_json(found), "sweep": trials.as_json(found)}
        planned |= several.as_json(found)
        say(json.dumps({**planned, **more}, indent=1))
    else:
        parts = [verdict.render(found), trials.render(found), several.render(found)]
        parts += [remedy.render(found, runs), propose.render(faster)]
        say("\n\n".join(filter(None, parts)))
    if args.probe:
        from tools.plan import probe  # imports what runs Axolotl

        say("\n" + probe.report(found, runs))
    if code := verdict.exit_code(found):
        sys.exit(code)


def _points(args: Args) -> None:
    """The memory formula beside published runs."""
    rows = points.compare(Path(args.points))
    say(json.dumps(points.as_json(rows), indent=1) if args.json else points.render(rows))
