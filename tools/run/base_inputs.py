"""What the data stage has of the base model: its chat template, its answers."""

from pathlib import Path
from typing import Any

from tools.files import file_digest
from tools.recipe.operators import declared as operators
from tools.recipe.schema import Model, Recipe

_TEMPLATE = ("chat_template.jinja", "tokenizer_config.json", "tokenizer.json")


def base_inputs(recipe: Recipe) -> dict[str, Any]:
    """What of the base model decides the rows, so that another makes the data stage run again.

    Returns:
        ``chat_template`` where turns are written in it, ``base`` where rows are scored by its
        answers; nothing where neither is so.
    """
    model, found = recipe.model, dict[str, Any]()
    if any(source.form == "chat_template" for source in recipe.data.sources.values()):
        paths = [Path(model.path) / name for name in _TEMPLATE]
        own = {path.name: file_digest(path) for path in paths if path.is_file()}
        found["chat_template"] = own if model.source == "local" else _named(model)
    if operators.asks_base(recipe.data.operators, recipe.data.sources):
        # By size and time, as the train stage has it: their content takes minutes to read.
        files = [path for path in sorted(Path(model.path).glob("*")) if path.is_file()]
        read = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files}
        found["base"] = read if model.source == "local" else _named(model)
    return found


def _named(model: Model) -> dict[str, str]:
    package = model.package.sha256 if model.package else ""
    return {"id": model.id, "revision": model.revision, "package": package}
