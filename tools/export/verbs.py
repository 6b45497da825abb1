"""The export verb."""

from tools.arguments import Args, same
from tools.console import say
from tools.day import budget
from tools.export.refusals import kinds, unmerged
from tools.run.asked import run_of
from tools.run.exports import ONNX, stage_of
from tools.run.folder import Run


def export(args: Args) -> None:
    """Write the merged model as a GGUF, proven in llama.cpp, or as ONNX, in ONNX Runtime."""
    wanted = kinds(args.format, args.type)
    run = run_of(args)
    unmerged(run, same(args))  # before the lock, which makes the folder
    if args.format == ONNX:
        _onnx(run, same(args))
    else:
        _gguf(run, wanted, same(args))


def _gguf(run: Run, wanted: list[str], call: str) -> None:
    from tools.export import asking, stage

    with budget.alone(run):
        found = stage.export(run, wanted, call)
    say(asking.table(found))
    for kind in wanted:
        say(f"{kind}: {run.output(stage_of(kind))}/{run.recipe.name}-{kind}.gguf")


def _onnx(run: Run, call: str) -> None:
    from tools.export.onnx import asking, stage

    with budget.alone(run):
        found = stage.export(run, call)
    say(asking.said(found))
    for file in sorted(run.output(ONNX).glob("*.onnx")):
        say(f"onnx: {file}")
