"""The serve verb, and eval with lm-eval. (With HELM it runs the chain: ``tools.chain.verbs``.)"""

import os

from tools.arguments import Args, same
from tools.base_model import local_folder
from tools.console import environment, say
from tools.day.budget import alone
from tools.errors import UserError
from tools.evaluate.worker import command, free_port
from tools.run.asked import run_of
from tools.run.folder import Run, served


def serve(args: Args) -> None:
    """Serve the tuned model behind /process, /tokenize, /decode, /health."""
    run = run_of(args)
    stage = _made(run, args)
    port = {"port": args.port} if args.port else {}
    config = type(run.recipe.serve)(**{**run.recipe.serve.__dict__, **port})
    free_port(config.port)  # told now, not after the model was loaded
    words = command(run.output(stage), config, run.recipe.hardware.device, run.path / "serve.json")
    os.execvpe(words[0], words, environment())  # in our place: a signal reaches the worker itself


def lm_eval(args: Args) -> None:
    """Ask base and tuned model lm-eval's tasks, print the table."""
    from tools.evaluate.lm_eval import FOLDER
    from tools.evaluate.lm_eval import lm_eval as ask
    from tools.evaluate.lm_scores import table

    if not args.tasks:
        raise UserError("TASKS: none given; name lm-eval's tasks, such as TASKS=arc_easy,my.yaml")
    run = run_of(args)
    # Tuned first: what is not made is told before a base is fetched.
    models = {"tuned": run.output(_made(run, args)), "base": local_folder(run.recipe.model)}
    with alone(run):
        found = ask(run, args.tasks, {who: models[who] for who in ("base", "tuned")})
        say(table(found, run.path / FOLDER))


def _made(run: Run, args: Args) -> str:
    """The stage whose folder is served; it must be there."""
    stage = served(run.recipe)
    if not run.done(stage):
        raise UserError(f"{run.output(stage)}: not made yet; first: make {stage}{same(args)}")
    return stage
