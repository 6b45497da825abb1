"""The chat template that turns are written in: an edited one makes the data stage run again."""

from pathlib import Path
from typing import Any

from tools.files import file_digest
from tools.recipe.schema import Recipe

_FILES = ("chat_template.jinja", "tokenizer_config.json", "tokenizer.json")


def chat_inputs(recipe: Recipe) -> dict[str, Any]:
    """``chat_template``: whose it is, or its files' digests; nothing where no source wants one."""
    model = recipe.model
    if not any(source.form == "chat_template" for source in recipe.data.sources.values()):
        return {}
    if model.source != "local":
        package = model.package.sha256 if model.package else ""
        return {"chat_template": {"id": model.id, "revision": model.revision, "package": package}}
    paths = [Path(model.path) / name for name in _FILES]
    return {"chat_template": {path.name: file_digest(path) for path in paths if path.is_file()}}
