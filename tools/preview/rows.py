"""The training rows that are shown: those of the run where they are made, else made and let go."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.data import prepare
from tools.data.mix import Block
from tools.data.render import row
from tools.run.folder import Run

NAMED = 3  # records of a row that are named
Left = Mapping[str, tuple[int, str]]  # by reason, how many rows left and the first one's place


@dataclass(frozen=True)
class Row:
    """A training row.

    Attributes:
        source: its name.
        segments: texts and whether they are learnt, as ``tools.data.tokens.encode`` takes them.
        place: where it lies, or where it came from.
        chat: its texts were written by the model's chat template.
    """

    source: str
    segments: list[dict[str, Any]]
    place: str
    chat: bool = False


@dataclass(frozen=True)
class Rows:
    """All training rows of a recipe.

    Attributes:
        how: where they come from, in words.
        count: of rows.
        each: goes through them, in the order they are learnt in.
        read: by source, rows that its files gave or its maker made.
        left: by source, why others are not trained on.
    """

    how: str
    count: int
    each: Callable[[], Iterator[Row]]
    read: Mapping[str, int]
    left: Mapping[str, Left]


@contextlib.contextmanager
def training_rows(run: Run) -> Iterator[Rows]:
    """The rows of a run, made by the data stage's own code; the run folder is only read.

    Raises:
        UserError: a source is wrong, missing or too small.
    """
    if run.done("data"):
        yield _of_run(run)
        return
    with tempfile.TemporaryDirectory(prefix="oneday-preview-") as folder:
        sources = run.recipe.data.sources
        chats = {name for name, source in sources.items() if source.form == "chat_template"}
        yield _made(prepare.rows(run.recipe, Path(folder)), chats)


def _of_run(run: Run) -> Rows:
    file, record = run.output("data") / "train.jsonl", run.record("data")
    metrics: dict[str, Any] = record["metrics"] if record else {}

    def each() -> Iterator[Row]:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                made = json.loads(line)
                chat = made.get("form") == "chat_template"
                yield Row(made["skill"], made["segments"], f"{file}:{number}", chat)

    left = {
        name: {why: (one["rows"], one["first"]) for why, one in found["left"].items()}
        for name, found in metrics.get("sources", {}).items()
    }
    read = metrics.get("read")  # of runs of an early version one number for all
    return Rows(
        f"the rows of {file}",
        metrics["train_rows"],
        each,
        read if isinstance(read, dict) else {},
        left,
    )


def _made(made: prepare.Prepared, chats: Collection[str]) -> Rows:
    mix = made.mixes["train"]

    def each() -> Iterator[Row]:
        for number, block in enumerate(mix, 1):
            name = block[0].source
            yield Row(name, row(block)["segments"], _place(block, number), name in chats)

    accounts = {name: found.account for name, found in made.sources.items()}
    left = {
        name: {
            why: (count, one.first[why])
            for why, count in (*one.left.most_common(), *one.operated.items())
        }
        for name, one in accounts.items()
    }
    read = {name: one.read for name, one in accounts.items()}
    how = "rows made for this and not kept (make data keeps them)"
    return Rows(how, len(mix), each, read, left)


def _place(block: Block, number: int) -> str:
    """Where the records lie of which a row is made; a maker's have no place but their own."""
    places: Sequence[str] = list(dict.fromkeys(item.place for item in block if item.place))
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return ", ".join(places[:NAMED]) + more or f"row {number}"
