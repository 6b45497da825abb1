"""The data verb: from the recipe's sources to train, validation and test rows with no overlap."""

import contextlib
import dataclasses
import gc
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.console import each, say
from tools.data import account, shares
from tools.data.account import SPLITS
from tools.data.curated import Curation
from tools.data.faults import faults, specials
from tools.data.mix import Block, arranged
from tools.data.render import Item, blocks, held_out, row
from tools.data.rows import Stored, keys_of
from tools.data.shapes import chats
from tools.data.shares import FEW_SHOT_POOL
from tools.data.sources import Found, Limits, leave_beyond, read, settle
from tools.data.spread.executor import Datatrove
from tools.data.spread.executor import executor as spread_by
from tools.data.spread.readings import taken
from tools.errors import UserError
from tools.recipe.schema import Data, Recipe
from tools.run.folder import Run

if TYPE_CHECKING:
    from tools.curate.score import Answers

__all__ = ["FEW_SHOT_POOL", "prepare", "refuse", "rows"]

_OBJECTS = 200_000  # more of them than were let go: then is the time to look for garbage

Splits = dict[str, list[Item]]
Counts = dict[str, Counter[str]]  # by split, how many of each source


@dataclasses.dataclass
class Prepared:
    """The rows of a recipe, before they are written.

    Attributes:
        splits: questions by split: train, validation, test, shots.
        mixes: training rows by split, train and validation, in the order they are learnt in.
        sources: what each source gave, and what became of it.
        curation: what operators did.
    """

    splits: Splits
    mixes: dict[str, list[Block]]
    sources: dict[str, Found]
    curation: Curation


def prepare(run: Run, executor: str = "", answers: "Answers | None" = None) -> dict[str, Any]:
    """Make ``data/``: train and validation rows for Axolotl, test and few-shot rows for HELM.

    Args:
        run: the run.
        executor: what reads the sources, such as ``datatrove:4``; empty: this process.
        answers: gives the base model's answers to prompts, where an operator scores by them.

    Returns:
        The counts that are also in the stage's record.

    Raises:
        UserError: a source is wrong, missing or too small.
    """
    refuse(run.recipe)
    data = run.recipe.data
    with _patient(), spread_by(run, executor) as spread, run.produce("data") as work:
        made = rows(run.recipe, work.folder, spread, answers)
        splits, sources, curation = made.splits, made.sources, made.curation
        for name, mix in made.mixes.items():
            if name == "train":
                work.note(epoch=dict(Counter(item.source for block in mix for item in block)))
            _write(work.folder / f"{name}.jsonl", _lines(mix))
            work.note(**{f"{name}_rows": len(mix), f"{name}_questions": len(splits[name])})
        # HELM asks all rows of a source in one form.
        plain = {i.source for n in ("test", "shots") for i in splits[n] if i.question is None}
        for name in ("test", "shots"):
            asked = [
                _asked(item, f"{name}-{i}", sources[item.source], item.source in plain)
                for i, item in enumerate(splits[name])
            ]
            _write(work.folder / f"{name}.jsonl", map(_json, asked))
            work.note(**{f"{name}_questions": len(asked)})
        counts = {name: Counter(map(attrgetter("source"), splits[name])) for name in SPLITS}
        _note(work.note, counts, sources)
        if curation.accounts:
            work.note(operators=[dataclasses.asdict(one) for one in curation.accounts])
    say(_summary(work.metrics))
    for name, one in sources.items():
        for text in one.account.told:
            say(f"data: {name}: {text}")
    accounts = [one.account for one in sources.values()]
    say(account.table(accounts, counts, data, work.metrics["epoch"], curation.table()))
    return work.metrics


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """Garbage is looked for seldom: rows are many, in no circle, and every look goes over all."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _asked(item: Item, identifier: str, found: Found, plain: bool) -> dict[str, Any]:
    return held_out(item, identifier, found.answers, plain, found.end)


def refuse(recipe: Recipe) -> None:
    """Stop at what is wrong with the recipe's sources without reading them.

    Raises:
        UserError: all of it.
    """
    found = faults(recipe.data.sources)
    if recipe.data.validation_rows < 1:
        found.append("data.validation_rows: must be 1 or more; merge and quantize check on them")
    if found:
        raise UserError(found)


def rows(
    recipe: Recipe,
    folder: Path,
    spread: Datatrove | None = None,
    answers: "Answers | None" = None,
) -> Prepared:
    """The rows that a recipe trains on and holds out.

    Args:
        recipe: ``refuse`` must have found nothing.
        folder: where rows may lie while they are sifted, and as long as they are used.
        spread: what reads the sources in several processes; None: this one.
        answers: gives the base model's answers to prompts, where an operator scores by them.

    Raises:
        UserError: a source is wrong, missing or too small.
    """
    data, curation = recipe.data, Curation(recipe.data, recipe.eval, spread or map, answers)
    splits, sources = _split(recipe, folder, curation, spread)
    # Seeded by a text of its own: what the sources draw moves nothing here.
    rng = random.Random(f"{data.seed}/blocks")
    mixes: dict[str, list[Block]] = {}
    for name in ("train", "validation"):
        mix: list[Block] = list(blocks(splits[name], data.shots, rng))
        rng.shuffle(mix)
        mixes[name] = arranged(mix, data) if name == "train" else mix
    return Prepared(splits, mixes, sources, curation)


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


def _split(
    recipe: Recipe, folder: Path, curation: Curation, spread: Datatrove | None
) -> tuple[Splits, dict[str, Found]]:
    """The pairs of every source, parted; a prompt that two sources share stays with the first."""
    data = recipe.data
    sources = _read(recipe, folder, curation, spread)
    accounts = {name: found.account for name, found in sources.items()}
    if data.operators:
        mixed = curation.mix([item for one in sources.values() for item in one.pairs], accounts)
        for name, found in sources.items():
            found.pairs = [item for item in mixed if item.source == name]
            settle(f"data.sources.{name}", data.sources[name], found)
    splits, rest = _held_out(data, sources, curation)
    for name, items in rest.items():
        left = curation.source(name, items, accounts[name], last=True)
        if not left:
            raise UserError(_none_left(name, curation))
        splits["train"] += left
    if not splits["validation"]:
        raise UserError(shares.none_held_out(data, sources))
    splits["train"] = curation.mix(splits["train"], accounts, last=True)
    return splits, sources


def _read(
    recipe: Recipe, folder: Path, curation: Curation, spread: Datatrove | None
) -> dict[str, Found]:
    """What every source gives after its own operators, but for prompts of sources before it."""
    data = recipe.data
    wanted = shares.wanted(data)
    again = any("dedup" in step for step in data.operators)  # it says what is a twin
    seen: list[Any] = []
    form = chats.form(recipe)
    sources = {}
    limits = {
        # Seeded by its name: one more source moves none of this one's draws.
        name: Limits(
            data.max_words,
            f"{data.seed}/{name}",
            specials(recipe.model) if source.kind == "local" else (),
            curation.fields,
            form if chats.is_chat(source) else None,
        )
        for name, source in data.sources.items()
    }
    parts = taken(data.sources, limits, spread) if spread else {}
    for name, source in each(data.sources.items(), len(data.sources), "data", "source"):
        held = sum(wanted[name].values())
        bounded = shares.is_bounded(source)
        found = sources[name] = read(
            name, source, held, limits[name], folder, bounded, curation, parts.get(name)
        )
        if not again:
            found.pairs = _unseen(found, seen)
    return sources


def _held_out(
    data: Data, sources: dict[str, Found], curation: Curation
) -> tuple[Splits, dict[str, list[Item]]]:
    """The rows that are held out, and those of each source that are left to train on."""
    splits: Splits = {name: [] for name in SPLITS}
    rest: dict[str, list[Item]] = {}
    wanted = shares.wanted(data)
    held: set[str] | None = set() if curation.any else None
    for name, found in sources.items():
        if not found.pairs:
            raise UserError(_none_left(name, curation))
        source, counts, items = data.sources[name], wanted[name], list(found.pairs)
        bounded = shares.is_bounded(source)
        if bounded:
            counts = shares.bounded(counts, len(items), data.held_out_share, found, data)
        # Held-out ones first: a recipe with more rows to train on still asks the same questions.
        for split in ("test", "shots", "validation"):
            chosen, items = _taken(items, counts[split], held)
            splits[split] += chosen
        if source.rows is not None and bounded:
            leave_beyond(name, found.account, items[source.rows :])
            items = items[: source.rows]
        rest[name] = items
    for name, items in rest.items():
        if not held:
            break
        left = [item for item in items if item.prompt in held]
        if left:
            why = "with the prompt of a row that is held out"
            sources[name].account.leave(why, left[0].place, len(left))
            rest[name] = [item for item in items if item.prompt not in held]
    return splits, rest


def _taken(items: list[Item], count: int, held: set[str] | None) -> tuple[list[Item], list[Item]]:
    """The first ``count`` rows of prompts that are not held out yet, and all others.

    Args:
        items: the rows.
        count: how many.
        held: prompts that are held out, added to; None where no prompt comes twice.
    """
    if held is None:
        return items[:count], items[count:]
    chosen: list[Item] = []
    left: list[Item] = []
    for item in items:
        if len(chosen) < count and (prompt := item.prompt) not in held:
            chosen.append(item)
            held.add(prompt)
        else:
            left.append(item)
    return chosen, left


def _none_left(name: str, curation: Curation) -> str:
    said = f"data.sources.{name}: no row is left to train on"
    if not curation.accounts:
        return f"{said}; raise its rows"
    return f"{said}; loosen the operators that took them:\n{curation.table()}"


def _unseen(found: Found, seen: list[Any]) -> list[Item]:
    """The source's pairs but for prompts of sources before it, which are added to ``seen``."""
    import numpy as np

    pairs = list(found.pairs)
    keys = _keys(pairs)
    if seen:
        again = np.isin(keys, np.concatenate(seen))
        gone = np.flatnonzero(again).tolist()
        if gone:
            place = pairs[gone[0]].place or "a question of it"
            found.account.leave("with the prompt of an earlier source", place, len(gone))
            pairs = [item for item, twice in zip(pairs, again.tolist(), strict=True) if not twice]
    seen.append(keys)
    return pairs


def _keys(items: Sequence[Item]) -> Any:
    """The hash of each row's prompt, a numpy array; those on the disk have it already."""
    import numpy as np

    at = [item.at for item in items if isinstance(item, Stored)]
    if at and len(at) == len(items):
        stored: Any = items[0]
        return stored.rows.keys()[np.array(at, dtype=np.int64)]
    return keys_of(item.prompt or item.completion for item in items)


def _lines(mix: Iterable[Block]) -> Iterator[bytes]:
    """Training rows as they are written; a row that lies on the disk is copied."""
    for block in mix:
        item = block[0]
        if len(block) == 1 and item.__class__ is Stored:
            rows = item.rows
            yield rows.head
            yield rows.segments(item.at)
            yield b"}\n"
        else:
            yield _json(row(block))


def _json(item: dict[str, Any]) -> bytes:
    return json.dumps(item, ensure_ascii=False).encode() + b"\n"


def _write(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("wb", buffering=2**20) as file:
        file.writelines(lines)
