"""Where a model's numbers and kind are found: in the recipe, or a ``config.json`` on this disk."""

from pathlib import Path

from tools.base_model.folder import config_file
from tools.errors import UserError
from tools.files import read_json
from tools.recipe.arch import read
from tools.recipe.kinds import Kind, kind_of
from tools.recipe.schema import Architecture, Model


def architecture(model: Model) -> Architecture:
    """The numbers that memory and speed depend on.

    A folder of the user's own tells them itself; of the hub's models it is asked where the recipe
    says nothing and the model lies on this disk already.

    Raises:
        UserError: neither the recipe nor a ``config.json`` on this disk tells them.
    """
    if model.arch is not None and model.source != "local":
        return model.arch  # first: proposals ask hundreds of times, and a disk is slow
    if path := config_file(model):
        try:
            return read(path)
        except UserError:
            if model.arch is None:
                raise
    if model.arch is not None:
        return model.arch
    raise UserError(
        f"model.arch is missing, so {model.id} cannot be planned for; add hidden, layers, mlp, "
        "vocab, heads, kv_heads and tied from its config.json, or take a model of recipes/models"
    )


def of_folder(folder: Path) -> Kind:
    """The kind of a model by its folder's ``config.json``; causal where that tells nothing."""
    config = read_json(folder / "config.json")
    return kind_of(str(config.get("model_type", "")) if isinstance(config, dict) else "")
