"""The lint-submission verb."""

import json
import sys
from pathlib import Path

from tools.arguments import Args
from tools.console import say
from tools.errors import UserError
from tools.lint import linter


def lint_submission(args: Args) -> None:
    """Would this folder build, start and be scored by the organizers?"""
    if not args.folder:
        raise UserError("PATH: none given; name the folder to be handed in, as PATH=dist/mine")
    findings = linter.lint(Path(args.folder))
    said = json.dumps(linter.as_json(findings), indent=1) if args.json else linter.render(findings)
    say(said)
    if code := linter.exit_code(findings):
        sys.exit(code)
