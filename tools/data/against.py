"""What rows are decontaminated against: the questions of HELM's files, and of the user's."""

import json
from collections.abc import Iterator
from pathlib import Path

from tools.errors import UserError
from tools.questions import tiers
from tools.questions.asked import asked
from tools.questions.data import Data
from tools.recipe.operators.declared import Decontaminate
from tools.recipe.schema import Eval

FIELDS = ("question", "prompt", "input", "text")


def against(options: Decontaminate, evaluation: Eval) -> dict[str, list[str]]:
    """The questions, by scenario or file.

    Args:
        options: whether HELM's files count, and which others.
        evaluation: the recipe's ``eval`` section.

    Raises:
        UserError: a file is not there, cannot be fetched, or holds no questions.
    """
    found: dict[str, list[str]] = {}
    if options.helm:
        entries = [entry.description for entry in tiers.entries(evaluation)]
        data = Data(entries, evaluation.data)
        data.fetch()
        found |= asked(entries, data)
    for name in options.files:
        found[name] = list(_questions(Path(name)))
        if not found[name]:
            raise UserError(f"decontaminate.files: {name}: holds no question")
    return found


def _questions(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise UserError(f"decontaminate.files: {path}: no such file")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"decontaminate.files: {path}: cannot be read ({error})") from None
    for number, line in enumerate(filter(str.strip, lines), 1):
        if not line.lstrip().startswith("{"):
            yield line
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(
                f"decontaminate.files: {path}:{number}: begins as JSON and is none ({error})"
            ) from None
        text = next((row[name] for name in FIELDS if isinstance(row.get(name), str)), None)
        if text is None:
            raise UserError(
                f"decontaminate.files: {path}:{number}: none of the fields {', '.join(FIELDS)}; "
                f"the row has {', '.join(row)}"
            )
        yield text
