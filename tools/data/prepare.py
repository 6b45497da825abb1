"""The data verb: from the recipe's sources to train, validation and test rows with no overlap."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from tools.console import each, say
from tools.data import account, shares
from tools.data.account import SPLITS
from tools.data.faults import faults
from tools.data.mix import Block, arranged
from tools.data.render import Item, blocks, held_out, row
from tools.data.rows import Stored, keys_of
from tools.data.shares import FEW_SHOT_POOL
from tools.data.sources import Found, Limits, leave_beyond, read
from tools.errors import UserError
from tools.recipe.schema import Recipe
from tools.run.folder import Run

__all__ = ["FEW_SHOT_POOL", "prepare"]

Splits = dict[str, list[Item]]
Counts = dict[str, Counter[str]]  # by split, how many of each source


def prepare(run: Run) -> dict[str, Any]:
    """Make ``data/``: train and validation rows for Axolotl, test and few-shot rows for HELM.

    Returns:
        The counts that are also in the stage's record.

    Raises:
        UserError: a source is wrong, missing or too small.
    """
    data = run.recipe.data
    found = faults(data.sources)
    if data.validation_rows < 1:
        found.append("data.validation_rows: must be 1 or more; merge and quantize check on them")
    if found:
        raise UserError(found)
    with run.produce("data") as work:
        splits, sources = _split(run.recipe, work.folder)
        # Seeded by a text of its own: what the sources draw moves nothing here.
        rng = random.Random(f"{data.seed}/blocks")
        for name in ("train", "validation"):
            mix: list[Block] = list(blocks(splits[name], data.shots, rng))
            rng.shuffle(mix)
            if name == "train":
                mix = arranged(mix, data)
                work.note(epoch=dict(Counter(item.source for block in mix for item in block)))
            _write(work.folder / f"{name}.jsonl", map(_line, mix))
            work.note(**{f"{name}_rows": len(mix), f"{name}_questions": len(splits[name])})
        for name in ("test", "shots"):
            rows = [
                held_out(item, f"{name}-{i}", sources[item.source].answers)
                for i, item in enumerate(splits[name])
            ]
            _write(work.folder / f"{name}.jsonl", map(_json, rows))
            work.note(**{f"{name}_questions": len(rows)})
        counts = {name: Counter(map(attrgetter("source"), splits[name])) for name in SPLITS}
        _note(work.note, counts, sources)
    say(_summary(work.metrics))
    for name, one in sources.items():
        for text in one.account.told:
            say(f"data: {name}: {text}")
    accounts = [one.account for one in sources.values()]
    say(account.table(accounts, counts, data, work.metrics["epoch"]))
    return work.metrics


def _note(note: Any, counts: Counts, sources: dict[str, Found]) -> None:
    accounts = {name: one.account for name, one in sources.items()}
    note(read={name: one.read for name, one in accounts.items()})
    note(by_source=dict(counts["train"]))
    note(sources={name: one.as_json() for name, one in accounts.items()})


def _summary(counts: dict[str, Any]) -> str:
    parts = [f"{n} {name}" for name, n in counts["by_source"].items()]
    return (
        f"data: {counts['train_questions']} questions to learn ({', '.join(parts)}) in "
        f"{counts['train_rows']} rows; held out: {counts['validation_questions']} for validation, "
        f"{counts['test_questions']} for HELM; no question is in two splits"
    )


def _split(recipe: Recipe, folder: Path) -> tuple[Splits, dict[str, Found]]:
    """The pairs of every source, parted; a prompt that two sources share stays with the first."""
    data = recipe.data
    splits: Splits = {name: [] for name in SPLITS}
    wanted = shares.wanted(data)
    seen: list[Any] = []
    sources = {}
    for name, source in each(data.sources.items(), len(data.sources), "data", "source"):
        # Seeded by its name: one more source moves none of this one's draws.
        specials = _specials(recipe) if source.kind == "local" else ()
        limits = Limits(data.max_words, f"{data.seed}/{name}", specials)
        held = sum(wanted[name].values())
        bounded = shares.is_bounded(source)
        found = sources[name] = read(name, source, held, limits, folder, bounded)
        pairs = _unseen(found, seen, name)
        counts = wanted[name]
        if bounded:
            counts = shares.bounded(counts, len(pairs), data.held_out_share, found, data)
        # Held-out ones first: a recipe with more rows to train on still asks the same questions.
        for split in ("test", "shots", "validation"):
            splits[split] += pairs[: counts[split]]
            pairs = pairs[counts[split] :]
        if source.rows is not None and bounded:
            leave_beyond(name, found, pairs[source.rows :])
            pairs = pairs[: source.rows]
        if not pairs:
            raise UserError(f"data.sources.{name}: no row is left to train on; raise its rows")
        splits["train"] += pairs
    if not splits["validation"]:
        raise UserError(shares.none_held_out(data, sources))
    return splits, sources


def _specials(recipe: Recipe) -> tuple[str, ...]:
    """The model's own tokens: an answer that holds one of them would end in its middle."""
    return tuple(dict.fromkeys(filter(None, (recipe.model.eos, recipe.model.pad))))


def _unseen(found: Found, seen: list[Any], name: str) -> list[Item]:
    """The source's pairs but for prompts of sources before it, which are added to ``seen``."""
    import numpy as np

    pairs: Sequence[Any] = found.pairs
    if pairs and isinstance(pairs[0], Stored):
        order = np.fromiter(map(attrgetter("at"), pairs), dtype=np.int64, count=len(pairs))
        keys = pairs[0].rows.keys()[order]
    else:
        keys = keys_of(item.prompt for item in pairs)
    if seen:
        again = np.isin(keys, np.concatenate(seen))
        gone = np.flatnonzero(again).tolist()
        if gone:
            first = pairs[gone[0]]
            place = first.rows.place(first.at) if isinstance(first, Stored) else "a question of it"
            found.account.leave("with the prompt of an earlier source", place, len(gone))
            pairs = [item for item, twice in zip(pairs, again.tolist(), strict=True) if not twice]
    seen.append(keys)
    return list(pairs)


def _line(block: Sequence[Item]) -> bytes:
    """A training row as it is written."""
    if len(block) == 1 and isinstance(block[0], Stored):
        item = block[0]
        return b"%b%b}\n" % (item.rows.head, item.rows.segments(item.at))
    return _json(row(block))


def _json(item: dict[str, Any]) -> bytes:
    return json.dumps(item, ensure_ascii=False).encode() + b"\n"


def _write(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("wb", buffering=2**20) as file:
        file.writelines(lines)
