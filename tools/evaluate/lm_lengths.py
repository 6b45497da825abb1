"""How many new tokens lm-eval's tasks ask for, held against what the worker has room for.

lm-eval cuts a prompt at its head to ``context - max_gen_toks`` tokens. Where a task asks for more
than the context that is less than nothing, and the slice leaves no prompt, or all of it but its
head: aime25 asks for 32,768.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.recipe.schema import Recipe


@functools.cache
def index() -> dict[str, Any]:
    """The tasks, groups and tags that the installed lm-eval has, with the files of their own."""
    from lm_eval.tasks import TaskManager

    return dict(TaskManager().task_index)


def refuse_longer(recipe: Recipe, tasks: Mapping[str, Path | None]) -> None:
    """Refuse tasks that ask for answers as long as the worker's whole context.

    Of groups and patterns nothing is known here.

    Args:
        recipe: whose worker is asked.
        tasks: by name, the file of one of the user's own.

    Raises:
        UserError: there are some.
    """
    context, most = recipe.serve.context, recipe.eval.max_new_tokens
    if most:
        lengths = {"eval.max_new_tokens": most}
        remedy = "lower it, or raise serve.context"
    else:
        found = {f"TASKS: {name}": _asked(name, own) for name, own in tasks.items()}
        lengths = {name: length for name, length in found.items() if length}
        remedy = f"set eval.max_new_tokens={context // 2}, or raise serve.context"
    faults = [
        f"{name} asks for {length} new tokens, and serve.context is {context}: no room is left for "
        f"a prompt; {remedy}"
        for name, length in lengths.items()
        if length > context - 2  # lm-eval keeps one token back
    ]
    if faults:
        raise UserError(faults)


def _asked(name: str, own: Path | None) -> int:
    """A task's ``max_gen_toks``; 0 where it says none."""
    file = own or index().get(name, {}).get("yaml_path", -1)
    if file == -1:  # a tag, or a group made by another's file
        return 0
    from lm_eval.utils import load_yaml_config

    content = load_yaml_config(str(file), mode="simple")  # runs no !function of the task
    settings = content.get("generation_kwargs") or {}
    length = settings.get("max_gen_toks", 0) if isinstance(settings, dict) else 0
    return length if isinstance(length, int) else 0
