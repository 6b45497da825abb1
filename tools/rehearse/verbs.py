"""The rehearse verb."""

import shlex
import sys
from pathlib import Path

from tools.arguments import Args
from tools.console import say
from tools.package.names import slug
from tools.recipe.verbs import asked
from tools.rehearse.rehearsal import Options
from tools.rehearse.rehearsal import rehearse as play


def rehearse(args: Args) -> None:
    """Do what the organizers do with a submission, more strictly: build, start, ask, stop."""
    folder = Path(args.folder) if args.folder else _packed(args)
    options = Options(
        engine=args.engine,
        base=args.base,
        build=tuple(shlex.split(args.build)),
        model=Path(args.model) if args.model else None,
    )
    text, passed = play(folder, options)
    say(text)
    if not passed:
        sys.exit(1)


def _packed(args: Args) -> Path:
    """The folder that ``make submission`` writes for a recipe."""
    return Path(args.dist) / f"submission-{slug(asked(args).recipe.name)}"
