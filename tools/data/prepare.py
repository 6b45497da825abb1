"""The data verb: from the recipe's sources to train, validation and test rows with no overlap."""

import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tools.console import each, say
from tools.data.mix import arranged
from tools.data.render import Pair, blocks, held_out, row
from tools.data.sources import faults, read
from tools.errors import UserError
from tools.recipe.schema import Data
from tools.run.folder import Run

FEW_SHOT_POOL = 8  # questions a skill keeps for HELM's in-context examples; HELM shows 3 to 5


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
        tally: Counter[str] = Counter()
        splits = _split(data, tally)
        # Seeded by a text of its own: what the sources draw moves nothing here.
        rng = random.Random(f"{data.seed}/blocks")
        for name in ("train", "validation"):
            mix = list(blocks(splits[name], data.shots, rng))
            rng.shuffle(mix)
            if name == "train":
                mix = arranged(mix, data)
                work.note(epoch=dict(Counter(pair.source for block in mix for pair in block)))
            _write(work.folder / f"{name}.jsonl", [row(block) for block in mix])
            work.note(**{f"{name}_rows": len(mix), f"{name}_questions": len(splits[name])})
        for name in ("test", "shots"):
            rows = [held_out(p, f"{name}-{i}") for i, p in enumerate(splits[name])]
            _write(work.folder / f"{name}.jsonl", rows)
            work.note(**{f"{name}_questions": len(rows)})
        work.note(read=dict(tally))
        work.note(by_source=dict(Counter(p.source for p in splits["train"])))
    say(_summary(work.metrics))
    say(_table(data, work.metrics))
    return work.metrics


def _summary(counts: dict[str, Any]) -> str:
    parts = [f"{n} {name}" for name, n in counts["by_source"].items()]
    return (
        f"data: {counts['train_questions']} questions to learn ({', '.join(parts)}) in "
        f"{counts['train_rows']} rows; held out: {counts['validation_questions']} for validation, "
        f"{counts['test_questions']} for HELM; no question is in two splits"
    )


def _table(data: Data, counts: dict[str, Any]) -> str:
    """What became of each source: read, kept to learn, and, by its weight, learnt an epoch."""
    lines = [("source", "read", "to learn", "weight", "an epoch")]
    for name, source in data.sources.items():
        figures = (counts[key].get(name, 0) for key in ("read", "by_source", "epoch"))
        read, kept, epoch = (f"{figure:,}" for figure in figures)
        lines.append((name, read, kept, f"{source.weight:g}", epoch))
    width = max(len(line[0]) for line in lines)
    rows = [f"  {line[0]:{width}}" + "".join(f"{cell:>11}" for cell in line[1:]) for line in lines]
    order = "" if data.order == "shuffled" else f"\n  order: {data.order}, the same in each epoch"
    return "\n".join(rows) + order


def _split(data: Data, tally: Counter[str]) -> dict[str, list[Pair]]:
    """The pairs of every source, parted; a prompt that two sources share stays with the first.

    ``tally`` gets the number of rows read of each.
    """
    splits: dict[str, list[Pair]] = {"train": [], "validation": [], "test": [], "shots": []}
    makers = [name for name, source in data.sources.items() if source.kind == "generator"]
    share = {
        "test": _shares(data.test_rows, makers),
        "shots": dict.fromkeys(makers, FEW_SHOT_POOL),
        "validation": _shares(data.validation_rows, list(data.sources)),
    }
    seen: set[str] = set()
    for name, source in each(data.sources.items(), len(data.sources), "data", "source"):
        held = sum(counts.get(name, 0) for counts in share.values())
        # Seeded by its name: one more source moves none of this one's draws.
        pairs = read(
            name, source, held, random.Random(f"{data.seed}/{name}"), data.max_words, tally
        )
        pairs = [p for p in pairs if p.prompt not in seen]
        seen.update(p.prompt for p in pairs)
        # Held-out ones first: a recipe with more rows to train on still asks the same questions.
        for split, counts in share.items():
            count = counts.get(name, 0)
            splits[split] += pairs[:count]
            pairs = pairs[count:]
        if not pairs:
            raise UserError(f"data.sources.{name}: no row is left to train on; raise its rows")
        splits["train"] += pairs
    return splits


def _shares(total: int, names: list[str]) -> dict[str, int]:
    """``total`` dealt out evenly; the first ones get what is left over."""
    return {name: total // len(names) + (i < total % len(names)) for i, name in enumerate(names)}


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for item in rows:
            file.write(json.dumps(item, ensure_ascii=False) + "\n")
