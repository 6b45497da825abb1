"""What became of every row that was read: it is in a split, or it is told why it left."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tools.recipe.schema import Data


class Account:
    """The rows of one source.

    Attributes:
        read: rows that its files gave, or that its maker made.
        left: how many left, by reason.
        told: what was decided about the source that its recipe does not say.
        operated: how many the recipe's operators took out, by operator and reason.
        added: rows that operators put beside others, by operator.
    """

    def __init__(self, source: str) -> None:
        self.source, self.read = source, 0
        self.left: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.told: list[str] = []
        self.operated: Counter[str] = Counter()
        self.added: Counter[str] = Counter()

    def leave(self, why: str, place: str, count: int = 1) -> None:
        """Note that rows leave; the first place of a reason is kept."""
        self.left[why] += count
        self.first.setdefault(why, place)

    def take_out(self, why: str, place: str, count: int = 1) -> None:
        """Note that an operator of the recipe takes rows out."""
        self.operated[why] += count
        self.first.setdefault(why, place)

    def join(self, other: "Account") -> None:
        """Add what became of the rows of another part of the source, behind those so far."""
        self.read += other.read
        for why, count in other.left.items():
            self.leave(why, other.first[why], count)

    def as_json(self) -> dict[str, Any]:
        """For the stage's record."""
        left = [*self.left.most_common(), *self.operated.items()]
        added = {key: count for key, count in self.added.items() if count}
        return {
            "read": self.read,
            "left": {why: {"rows": count, "first": self.first[why]} for why, count in left},
            "told": self.told,
        } | ({"added": added} if added else {})


HEAD = (
    "source",
    "rows in",
    "to learn",
    "validation",
    "test",
    "shots",
    "left",
    "added",
    "weight",
    "an epoch",
)
SPLITS = ("train", "validation", "test", "shots")


def table(
    accounts: Sequence[Account],
    splits: Mapping[str, Counter[str]],
    data: Data,
    epoch: Any,
    operators: str = "",
) -> str:
    """Source, rows in, rows out by split, rows that left, and what is learnt an epoch by weight.

    Below it why rows left, a line a reason, what operators did, and in which order rows are learnt.

    Args:
        accounts: of each source.
        splits: by split, how many rows of each source.
        data: the recipe's section.
        epoch: rows of each source that one epoch learns.
        operators: what each did, as plain text.
    """
    added = any(sum(account.added.values()) for account in accounts)
    rows = [[name for name in HEAD if added or name != "added"]]
    for account in accounts:
        counts = [splits[name][account.source] for name in SPLITS]
        left = sum(account.left.values()) + sum(account.operated.values())
        come = [sum(account.added.values())] if added else []
        cells = [f"{n:,}" for n in (account.read, *counts, left, *come)]
        weight = f"{data.sources[account.source].weight:g}"
        rows.append([account.source, *cells, weight, f"{epoch.get(account.source, 0):,}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    for account in accounts:
        for why, count in account.left.most_common():
            lines.append(f"  {account.source}: {count:,} {why} (first: {account.first[why]})")
    lines += [operators] if operators else []
    if data.order != "shuffled":
        lines.append(f"  order: {data.order}, the same in each epoch")
    return "\n".join(lines)
