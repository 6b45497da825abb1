"""The show verb, and what every verb that takes a recipe begins with."""

from pathlib import Path

from tools.arguments import Args
from tools.console import say
from tools.errors import UserError
from tools.recipe.faults import nearest
from tools.recipe.load import Loaded, load
from tools.recipe.show import show as render

CARDS = Path("recipes/hardware")


def show(args: Args) -> None:
    """Print the resolved recipe, each value with the file it came from."""
    say(render(asked(args)))


def asked(args: Args) -> Loaded:
    """The recipe that a command line names, with its changes.

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
    return load(Path(args.recipe or f"recipes/{args.hw}.yaml"), args.set)
