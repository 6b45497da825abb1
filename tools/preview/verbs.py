"""The preview verb."""

from pathlib import Path

from tools.arguments import Args
from tools.base_model.folder import tokenizer_folder
from tools.console import say
from tools.data.tokens import codec_of
from tools.errors import UserError
from tools.preview import drawn
from tools.preview.look import look, refuse_first
from tools.recipe.verbs import asked
from tools.run.folder import Run


def preview(args: Args) -> None:
    """Show rows as they are trained: tokens, what is learnt, lengths; is anything wrong?"""
    run = Run(asked(args).recipe, Path(args.runs))
    refuse_first(run.recipe, args.rows, args.source)
    model = tokenizer_folder(run.recipe.model)
    found = look(run, model, args.rows, args.source)
    say(drawn.render(found, codec_of(model), drawn.marks()))
    if found.faults:
        raise UserError(found.faults)
