"""The export verb."""

from tools.arguments import Args, same
from tools.console import say
from tools.day import budget
from tools.export.refusals import kinds, unmerged
from tools.run.asked import run_of
from tools.run.exports import stage_of


def export(args: Args) -> None:
    """Write the merged model as a GGUF, proven in llama.cpp."""
    wanted = kinds(args.format, args.type)
    run = run_of(args)
    unmerged(run, same(args))  # before the lock, which makes the folder
    from tools.export import asking, stage

    with budget.alone(run):
        found = stage.export(run, wanted, same(args))
    say(asking.table(found))
    for kind in wanted:
        say(f"{kind}: {run.output(stage_of(kind))}/{run.recipe.name}-{kind}.gguf")
