"""``python -m tools VERB``: the only thing the Makefile calls. A verb's body lives in its room."""

import argparse
import errno
import gc
import importlib
import os
import signal
import sys
from typing import NamedTuple

from tools import console
from tools.arguments import parser
from tools.errors import StageError, UserError


class Verb(NamedTuple):
    """A verb of the command line.

    Attributes:
        help: its line in ``--help``.
        room: module of its body, imported only when it is called: quick verbs stay quick.
        body: name of the function there.
    """

    help: str
    room: str
    body: str


WHOLE = "stages that are whole are kept, the same command makes the rest"
VERBS = {
    "day": Verb("The whole chain, from the rows to the report", "tools.chain.verbs", "day"),
    "data": Verb("Make the training, validation and test rows", "tools.chain.verbs", "data"),
    "train": Verb(
        "Train the adapter with Axolotl (goes on from the last whole checkpoint)",
        "tools.chain.verbs",
        "train",
    ),
    "sweep": Verb(
        "Search for the values to train with, as the recipe's sweep says, in a part of the day",
        "tools.chain.verbs",
        "sweep",
    ),
    "soup": Verb(
        "Average the adapter with others, as the recipe's soup says, where that is better",
        "tools.chain.verbs",
        "soup",
    ),
    "merge": Verb("Add the adapter to the base model", "tools.chain.verbs", "merge"),
    "quantize": Verb(
        "Put the merged model into the served format", "tools.chain.verbs", "quantize"
    ),
    "export": Verb(
        "Write the merged model as a GGUF, proven in llama.cpp, or as ONNX, in ONNX Runtime",
        "tools.export.verbs",
        "export",
    ),
    "serve": Verb(
        "Serve the tuned model behind /process, /tokenize, /decode, /health",
        "tools.evaluate.verbs",
        "serve",
    ),
    "eval": Verb(
        "Serve base and tuned model, score both with HELM (or lm-eval), print the table",
        "tools.chain.verbs",
        "evaluate",
    ),
    "show": Verb(
        "Print the resolved recipe, each value with the file it came from",
        "tools.recipe.verbs",
        "show",
    ),
    "check": Verb(
        "Is the recipe valid, does it suit its card, is it eligible?", "tools.check.verbs", "check"
    ),
    "preview": Verb(
        "Show rows as they are trained: tokens, what is learnt, lengths; is anything wrong?",
        "tools.preview.verbs",
        "preview",
    ),
    "plan": Verb(
        "Predict memory, speed, hours and disk: does it fit the card and the day?",
        "tools.plan.verbs",
        "plan",
    ),
    "clock": Verb(
        "What is used and left of the day, and what is going on?", "tools.day.verbs", "clock"
    ),
    "verify": Verb(
        "Is every file of a run folder what its manifest says?", "tools.rebuild.verbs", "verify"
    ),
    "reproduce": Verb(
        "Rebuild a run from its manifest alone in a fresh folder, and compare",
        "tools.chain.verbs",
        "reproduce",
    ),
    "score": Verb(
        "The organizers' score of published results, HELM suites and runs, and what would raise it",
        "tools.score.verbs",
        "score",
    ),
    "report": Verb(
        "Write report.html: all of a run on one page, and report.json beside it",
        "tools.report.verbs",
        "report",
    ),
    "submission": Verb(
        "Pack a finished run into one folder and zip that strangers can build and run",
        "tools.package.verbs",
        "submission",
    ),
    "publish": Verb(
        "Write a folder for the Hugging Face hub, with its model card; nothing is pushed",
        "tools.publish.verbs",
        "publish",
    ),
    "lint-submission": Verb(
        "Would this folder build, start and be scored by the organizers?",
        "tools.lint.verbs",
        "lint_submission",
    ),
    "rehearse": Verb(
        "Do what the organizers do with a submission, more strictly: build, start, ask, stop",
        "tools.rehearse.verbs",
        "rehearse",
    ),
}


# What of the system's errors is the disk's: full, over quota, not ours to write, broken.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}
_GONE = {errno.ENOENT, errno.ENOTDIR}


def _remedy(error: OSError) -> str:
    """What to do about an error of the system; of one that is none (transformers), nothing."""
    if error.errno in _DISK:
        return "; free the disk or mend the folder's rights"
    if error.errno in _GONE:
        return "; make verify RUN=… tells which files of a run are not as they were"
    return ""


def _parser() -> argparse.ArgumentParser:
    return parser({name: verb.help for name, verb in VERBS.items()})


def main() -> int:
    """Run one verb; the process's exit code."""
    args = _parser().parse_args()
    verb = VERBS[args.verb]
    # Pydantic looks through every installed package for plugins otherwise: a tenth of a `check`.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    console.settle()
    # A polite kill ends like Ctrl+C, so that no child outlives us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        getattr(importlib.import_module(verb.room), verb.body)(args)
    except UserError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 2
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        # A stage that can go on says itself what it has to go on from.
        kept = interrupt.args[0] if interrupt.args else WHOLE
        print(f"\ninterrupted; {kept}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        sys.stderr.close()
        return 0
    except OSError as error:
        print(f"error: {error}{_remedy(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    gc.freeze()  # or the exit looks through all that torch made: a second, which no ledger knows
    sys.exit(code)
