"""The files that the data stage's operators read: one edited line makes the stage run again."""

from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.files import file_digest
from tools.questions import tiers
from tools.recipe.operators import declared as operators
from tools.recipe.schema import Recipe
from tools.recipe.yaml_map import full_key


def operator_inputs(recipe: Recipe) -> dict[str, Any]:
    """What decides the outcome of a recipe's operators, but for the rows and their options.

    Returns:
        ``operator_files``, digests of the files that they name; ``questions``, what rows are
        decontaminated against; nothing where there are no such operators.

    Raises:
        UserError: a file is not there.
    """
    named, faults, asked = {}, [], False
    for key, steps in operators.lists(recipe.data.operators, recipe.data.sources):
        asked = asked or any("decontaminate" in s and s["decontaminate"].helm for s in steps)
        for path, file in operators.files(steps):
            where = full_key((*key, *path))
            named[where] = operators.opened(Path(file))
            if not named[where].is_file():
                faults.append(f"{where}: {file}: no such file")
    if faults:
        raise UserError(faults)
    found: dict[str, Any] = {}
    if named:
        found["operator_files"] = {where: file_digest(path) for where, path in named.items()}
    if asked:
        from tools.questions.data import Data  # only now: it can fetch, and so imports much

        # Of what HELM's files hold only the user's own can change; the others are fetched.
        entries = [entry.description for entry in tiers.entries(recipe.eval)]
        given = Data(entries, recipe.eval.data, store=None).digests() if recipe.eval.data else {}
        found["questions"] = {"entries": entries, "files": given}
    return found
