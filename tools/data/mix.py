"""How often each row stands in an epoch, and in which order: a source's ``weight``, ``data.order``.

Only rows to learn come here: what is held out was set apart before, so no copy can stand on both
sides. Every draw has a random generator of its own, seeded by a text: a weight moves no held-out
row, and one source's weight moves no draw of another's.
"""

import random
from collections.abc import Callable, Iterator, Sequence

from tools.data.render import Item, blocks
from tools.recipe.schema import Data, Order

Block = list[Item]  # the questions of one training row, all of one source


def arranged(rows: Sequence[Block], data: Data) -> list[Block]:
    """The rows of one epoch; with every weight 1 and no order the very same, as they came.

    Args:
        rows: each question to learn once, shuffled.
        data: the recipe's section.
    """
    found = list(rows)
    if any(source.weight != 1 for source in data.sources.values()):
        found = [row for name in data.sources for row in _weighted(name, rows, data)]
        random.Random(f"{data.seed}/mix").shuffle(found)
    return _ORDERS[data.order](found, list(data.sources))


def times(count: int, weight: float) -> int:
    """How many of ``count`` questions by weight: to the nearest whole, at least one of any."""
    return max(round(count * weight), min(count, 1))


def _weighted(name: str, rows: Sequence[Block], data: Data) -> Iterator[Block]:
    """One source's rows: as they are, then again, then a sample for the fraction.

    A question comes again in other company: where rows hold several questions, they are dealt anew,
    and never twice into one row.
    """
    own = [row for row in rows if row[0].source == name]
    pairs = [pair for row in own for pair in row]
    rng = random.Random(f"{data.seed}/weight/{name}")
    whole, rest = divmod(times(len(pairs), data.sources[name].weight), max(len(pairs), 1))
    if whole:
        yield from own
    for size in [len(pairs)] * (whole - 1) + [rest]:
        yield from blocks(rng.sample(pairs, size), data.shots, rng)


def _shuffled(rows: list[Block], names: list[str]) -> list[Block]:
    return rows


def _listed(rows: list[Block], names: list[str]) -> list[Block]:
    return sorted(rows, key=lambda row: names.index(row[0].source))


def _easy_first(rows: list[Block], names: list[str]) -> list[Block]:
    """By each row's place in its own source, from 0 to 1: the mix is the same from first to last.

    Difficulties of two sources cannot be compared, nor can the lengths of an essay and a letter.
    """
    placed: list[tuple[float, int, Block]] = []
    for index, name in enumerate(names):
        own = sorted((row for row in rows if row[0].source == name), key=_hardness)
        placed += [((at + 0.5) / len(own), index, row) for at, row in enumerate(own)]
    return [row for _, _, row in sorted(placed, key=lambda one: one[:2])]


def _hardness(row: Block) -> float:
    """Of several questions the hardest one's; without a level, their length together."""
    levels = [pair.hardness for pair in row]
    known = [level for level in levels if level is not None]
    return max(known) if known else sum(pair.length for pair in row)


_ORDERS: dict[Order, Callable[[list[Block], list[str]], list[Block]]] = {
    "shuffled": _shuffled,
    "listed": _listed,
    "easy-first": _easy_first,
}
