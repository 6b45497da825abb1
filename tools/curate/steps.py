"""A recipe's list of operators, carried out in order; each leaves an account of what it did."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from tools.curate.augment import augment
from tools.curate.choose import allow, deny, filter_, intersect, sample, split
from tools.curate.contaminated import PARTLY, decontaminate
from tools.curate.exact import dedup
from tools.curate.near import near_dedup
from tools.curate.result import SHOWN, Example, Result
from tools.curate.rewrite import answer_format, map_, repeat, strip
from tools.curate.score import Answers, fingerprint, score
from tools.errors import UserError
from tools.recipe.operators.declared import NOT_FOR_CHATS, NOT_FOR_MAKERS, Decontaminate, Step

#: Operators on training rows alone: a held-out row is asked as it is, and stands in no example.
LAST = ("augment", "repeat")

Questions = Callable[[Decontaminate], Mapping[str, Sequence[str]]]

_OPERATORS: dict[str, Callable[[pa.Table, int, Any], Result]] = {
    "allow": allow,
    "deny": deny,
    "intersect": intersect,
    "strip": strip,
    "map": map_,
    "answer_format": answer_format,
    "filter": filter_,
    "dedup": dedup,
    "near_dedup": near_dedup,
    "score": score,
    "sample": sample,
    "augment": augment,
    "repeat": repeat,
    "split": split,
    "fingerprint": fingerprint,
}


@dataclass(frozen=True)
class Account:
    """What one operator did.

    Attributes:
        key: its full key in the recipe.
        before: rows.
        after: rows.
        left: how many left, by reason.
        changed: rows written otherwise.
        added: rows.
        examples: at most three.
        notes: what else it found.
    """

    key: str
    before: int
    after: int
    left: Mapping[str, int]
    changed: int
    added: int
    examples: tuple[Example, ...]
    notes: Mapping[str, Any]


def carry_out(
    rows: pa.Table,
    steps: Sequence[Step],
    key: str,
    seed: int,
    questions: Questions,
    makers: Collection[str] = (),
    last: bool = False,
    chosen: slice = slice(None),
    chats: Collection[str] = (),
    answers: Answers | None = None,
) -> tuple[pa.Table, list[Account]]:
    """Do what a list of operators says.

    Args:
        rows: as in ``tools.curate.result``.
        steps: the list.
        key: its full key in the recipe; each operator draws by it and its place.
        seed: the recipe's.
        questions: gives the questions that rows are decontaminated against.
        makers: sources whose rows are made by generators.
        last: carry out the operators on training rows, and no others; or these others alone.
        chosen: of the list, these.
        chats: sources whose rows are in a chat template.
        answers: the base model's, where an operator scores by them.

    Returns:
        The rows, and an account of each operator.

    Raises:
        UserError: with the key of the operator that cannot be carried out.
    """
    accounts = []
    for place, step in list(enumerate(steps))[chosen]:
        for name, options in step.items():
            if (name in LAST) == last:
                where = f"{key}[{place}]"
                before = rows.num_rows
                try:
                    alone = _left_alone(name, makers, chats)
                    body = _body(name, options, questions, answers)
                    result = _one(rows, body, options, _seed(seed, where), alone)
                except UserError as error:
                    raise UserError(f"{where}: {fault}" for fault in error.faults) from None
                rows = result.rows
                accounts.append(_account(f"{where}.{name}", before, result))
    return rows, accounts


def leading(steps: Sequence[Step]) -> int:
    """How many operators at the head of a list look at one row at a time.

    They may be carried out on a part of the rows after another; ``together`` joins the accounts.
    """
    for place, step in enumerate(steps):
        if not all(_by_itself(name, options) for name, options in step.items()):
            return place
    return len(steps)


def _by_itself(name: str, options: Any) -> bool:
    """Whether what becomes of a row is seen from the row alone, and its texts tell it all."""
    if name == "map":  # a field that is written otherwise is known to this list only
        return options.column in ("prompt", "completion")
    if name == "answer_format":  # who refuses tells how many there are
        return options.unfit == "drop"
    return name in ("allow", "deny", "intersect", "filter", "strip", "split")


def together(parts: Sequence[Sequence[Account]]) -> list[Account]:
    """The accounts of the same operators on several parts of the rows, as of one."""
    found = []
    for same in zip(*parts, strict=True):
        left = Counter[str]()
        for one in same:
            left.update(one.left)
        every = [each for one in same for each in one.examples]
        # One example of each reason before a second of any.
        first = list({each.why: each for each in reversed(every)}.values())[::-1]
        chosen = (*first, *(each for each in every if each not in first))[:SHOWN]
        sums = {
            name: sum(getattr(one, name) for one in same) for name in ("before", "after", "changed")
        }
        found.append(dataclasses.replace(same[0], **sums, left=dict(left), examples=chosen))
    return found


def _seed(seed: int, key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8], "big")


def _left_alone(name: str, makers: Collection[str], chats: Collection[str]) -> list[str]:
    """Sources whose rows an operator is not for."""
    return [
        *(makers if name in NOT_FOR_MAKERS else ()),
        *(chats if name in NOT_FOR_CHATS else ()),
    ]


Body = Callable[[pa.Table, int, Any], Result]


def _body(name: str, options: Any, questions: Questions, answers: Answers | None) -> Body:
    """An operator's function; two want more than the rows."""
    if name == "decontaminate":
        asked = questions(options)
        return lambda rows, seed, options: decontaminate(rows, seed, options, asked)
    return partial(score, answers=answers) if name == "score" else _OPERATORS[name]


def _one(rows: pa.Table, body: Body, options: Any, seed: int, alone: Collection[str]) -> Result:
    """One operator, on the rows that are its business."""
    made = np.isin(np.asarray(rows.column("source").to_pylist(), dtype=object), list(alone))
    if not made.any():
        return body(rows, seed, options)
    numbered = rows.append_column("_at", pa.array(np.arange(rows.num_rows)))
    result = body(numbered.filter(pa.array(~made)), seed, options)
    whole = pa.concat_tables([result.rows, numbered.filter(pa.array(made))])
    order = np.argsort(whole.column("_at").to_numpy(), kind="stable")
    left, notes = result.left, result.notes
    back = whole.take(pa.array(order)).drop_columns("_at")
    return Result(back, left, result.changed, result.added, result.examples, notes)


def _account(key: str, before: int, result: Result) -> Account:
    return Account(
        key,
        before,
        result.rows.num_rows,
        result.left,
        result.changed,
        result.added,
        result.examples,
        result.notes,
    )


def render(accounts: Sequence[Account]) -> str:
    """The accounts as plain text: a line an operator, its examples below it."""
    width = max((len(one.key) for one in accounts), default=0)
    lines = []
    for one in accounts:
        lines.append(
            f"  {one.key:{width}}  {one.before:>9,} -> {one.after:>9,}  {_what(one)}".rstrip()
        )
        lines += [f"      {each.place}: {each.why}: {each.text}" for each in one.examples]
    return "\n".join(lines)


def _what(one: Account) -> str:
    parts = [f"{count:,} {why}" for why, count in one.left.items()]
    parts += [f"{one.changed:,} changed"] if one.changed else []
    parts += [f"{one.added:,} added"] if one.added else []
    for name, count in one.notes.get(PARTLY, {}).items():
        parts.append(f"{count:,} {PARTLY} of {name}, and stay")
    unknown = [name for name, count in one.notes.get("questions", {}).items() if not count]
    parts += [f"no file of {', '.join(unknown)} is known"] if unknown else []
    return ", ".join(parts)
