"""Decontamination: rows that hold a question of the evaluation leave before anything is trained."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby

import pyarrow as pa

from tools.curate.result import CUT, Result, examples, kept
from tools.curate.search import Match, Search
from tools.errors import UserError
from tools.recipe.operators.declared import Decontaminate

WHY = "holds a question of "
PARTLY = "share words with a question"


def decontaminate(
    rows: pa.Table, seed: int, options: Decontaminate, questions: Mapping[str, Sequence[str]]
) -> Result:
    """Rows without a question of the evaluation.

    Args:
        rows: as in ``tools.curate.result``.
        seed: not used.
        options: whether such rows leave, or are refused.
        questions: by scenario, or file.

    Returns:
        The rows that stay; ``notes`` has how many share some words of a question only, by scenario,
        and how many questions there were.

    Raises:
        UserError: there are such rows, and ``found`` is ``refuse``.
    """
    owners = [(name, text) for name, texts in questions.items() for text in texts]
    search = Search([text for _, text in owners])
    search.scan([rows.column("prompt"), rows.column("completion")])
    first = [next(group) for _, group in groupby(search.matches(), lambda one: one.row)]
    found = [one for one in first if one.contaminated]
    if found and options.found == "refuse":
        raise UserError(_refusal(rows, found, owners))
    reasons: dict[str, list[int]] = {}
    for one in found:
        reasons.setdefault(f"{WHY}{owners[one.question][0]}", []).append(one.row)
    notes = {
        "questions": {name: len(texts) for name, texts in questions.items()},
        PARTLY: dict(Counter(owners[one.question][0] for one in first if not one.contaminated)),
    }
    told = [(one.row, _told(one, owners)) for one in found]
    result = kept(rows, reasons)
    return Result(result.rows, result.left, examples=examples(rows, told), notes=notes)


def _told(match: Match, owners: list[tuple[str, str]]) -> str:
    name, text = owners[match.question]
    text = " ".join(text.split())
    return f"{match.share:.0%} of a question of {name}: {text[:CUT]}"


def _refusal(rows: pa.Table, found: list[Match], owners: list[tuple[str, str]]) -> str:
    counts = Counter(owners[one.question][0] for one in found)
    by = ", ".join(f"{count} of {name}" for name, count in counts.most_common())
    places = rows.column("place")
    some = "; ".join(f"{places[one.row].as_py()}: {_told(one, owners)}" for one in found[:3])
    return (
        f"decontaminate: {len(found)} rows hold a question of the evaluation ({by}); {some}; take "
        "them out of the source, or let them leave with: found: drop"
    )
