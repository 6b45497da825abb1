"""The show verb, and what every verb that takes a recipe begins with."""

from pathlib import Path
from typing import Any

from tools.arguments import Args
from tools.console import say
from tools.errors import UserError
from tools.recipe.answer import applied
from tools.recipe.axes import layers_of, sets
from tools.recipe.faults import nearest
from tools.recipe.load import Loaded, load
from tools.recipe.show import show as render

CARDS = Path("recipes/hardware")


def show(args: Args) -> None:
    """Print the resolved recipe, each value with the file it came from."""
    say(render(asked(args)))


def asked(args: Args) -> Loaded:
    """The recipe that a command line names, with its changes and what its sweep found.

    Raises:
        UserError: there is no such card, or the recipe has faults.
    """
    return applied(as_written(args), Path(args.runs), lambda values: as_written(args, values))


def as_written(args: Args, values: dict[str, Any] | None = None) -> Loaded:
    """The recipe that a command line names, with its changes, whatever its sweep found.

    Args:
        args: the command line.
        values: over the recipe's own, by full key, as a trial of a sweep has them.

    Raises:
        UserError: there is no such card, or the recipe has faults.
    """
    if not args.recipe:
        cards = sorted(path.stem for path in CARDS.glob("*.yaml"))
        if args.hw not in cards:
            raise UserError(
                f"HW={args.hw}: no such card{nearest(args.hw, cards)}; HW is one of "
                f"{', '.join(cards)}, or give a recipe of your own as RECIPE=my.yaml "
                "(docs/recipes.md, Another card, shows one)"
            )
    over = values or {}
    file = Path(args.recipe or f"recipes/{args.hw}.yaml")
    return load(file, [*args.set, *sets(over)], layers_of(over))
