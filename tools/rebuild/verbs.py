"""The verify verb. (``reproduce`` runs the chain: see ``tools.chain.verbs``.)"""

from tools.arguments import Args
from tools.console import say
from tools.errors import StageError
from tools.rebuild.verify import verify as find
from tools.run.asked import folder_of


def verify(args: Args) -> None:
    """Is every file of a run folder what its manifest says?"""
    if faults := find(folder_of(args)):
        raise StageError("\n".join(faults))
    say(f"verify: {args.run}: every hash holds")
