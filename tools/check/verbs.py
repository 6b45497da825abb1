"""The check verb."""

import json
import sys

from tools.arguments import Args
from tools.check.findings import as_json, exit_code, render
from tools.check.findings import check as find
from tools.console import say
from tools.recipe.verbs import asked


def check(args: Args) -> None:
    """Is the recipe valid, does it suit its card, is it eligible?"""
    findings = find(asked(args), args.track or None)
    say(json.dumps(as_json(findings), indent=1) if args.json else render(findings))
    if code := exit_code(findings, args.strict):
        sys.exit(code)
