"""The run folder that a command line names."""

from pathlib import Path

from tools.arguments import Args
from tools.errors import UserError
from tools.recipe.verbs import asked
from tools.run.folder import Run


def run_of(args: Args) -> Run:
    """The run of the recipe that a command line names."""
    return Run(asked(args).recipe, Path(args.runs))


def folder_of(args: Args) -> Path:
    """The folder given as ``--run``.

    Raises:
        UserError: there is no such folder.
    """
    if not args.run or not Path(args.run).is_dir():
        raise UserError(f"RUN={args.run}: no such folder; give a run folder, as RUN=runs/cpu")
    return Path(args.run)
