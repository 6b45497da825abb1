"""All training rows of a recipe gone through once: some are shown, all are measured and judged."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.console import each
from tools.data import faults as sources
from tools.data.origins import opened
from tools.data.prepare import refuse
from tools.data.shapes import chats
from tools.data.shapes.base import How
from tools.data.tokens import codec_of
from tools.errors import UserError
from tools.preview.examine import Examiner, Fault, Seen
from tools.preview.lengths import Measure
from tools.preview.packing import Packing, packing, sequence_len
from tools.preview.rows import Left, Rows, training_rows
from tools.recipe.faults import nearest
from tools.recipe.schema import Recipe
from tools.run.folder import Run

PLACES = 3  # of rows with the same fault that are named
MANY = 20_000  # rows; fewer are gone through before a bar would be seen


@dataclass
class Preview:
    """What a recipe trains on.

    Attributes:
        recipe: whose rows they are.
        how: where they come from.
        read: by source, rows of its files.
        left: by source, why others are not trained on.
        hows: by source, how its records are read; none of a maker's.
        shown: by source, its first rows.
        measured: by source, the tokens of all its rows.
        over: by source, rows longer than ``train.sequence_len``.
        answers: that were held against serving.
        unequal: how many of them serving reads other ids before.
        kept: tokens of each row that is trained on, in order.
        faults: what may not be trained on; places are named.
    """

    recipe: Recipe
    how: str
    read: Mapping[str, int]
    left: Mapping[str, Left]
    hows: dict[str, How]
    shown: dict[str, list[Seen]]
    measured: dict[str, Measure]
    over: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    unequal: int = 0
    kept: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def packing(self) -> Packing:
        """How rows come together in a training step."""
        return packing(self.kept, self.recipe)

    def count(self, seen: Seen) -> None:
        """Count a row's tokens, and what becomes of it."""
        name = seen.row.source
        self.measured[name].add(seen.length, seen.learnt)
        if self.is_long(seen):
            self.over[name] += 1
        if not self.is_long(seen) or strategy(self.recipe) == "truncate":
            self.kept.append(len(seen.ids))
        self.answers += len(seen.answers)
        self.unequal += sum(not one.equal for one in seen.answers)

    def is_long(self, seen: Seen) -> bool:
        """Whether a row is longer than ``train.sequence_len``."""
        return seen.length > sequence_len(self.recipe.train)


@dataclass
class _Faults:
    """What is wrong, by source and kind: some places, and how many more."""

    found: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    more: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, seen: Seen, fault: Fault) -> None:
        """Note a fault of a row."""
        key = seen.row.source, fault.kind
        told = self.found.setdefault(key, [])
        if len(told) < PLACES:
            where = f"data.sources.{seen.row.source}"
            told.append(f"{seen.row.place}: {fault.said}; {fault.remedy} ({where})")
        else:
            self.more[key] += 1

    def lines(self) -> Iterator[str]:
        """A line a row that is named, one for those that are not."""
        for (source, kind), told in self.found.items():
            yield from told
            if more := self.more[source, kind]:
                yield f"data.sources.{source}: {more:,} more rows with this fault: {kind}"


def look(run: Run, model: Path, rows: int, only: str = "") -> Preview:
    """Go through the training rows of a recipe.

    Args:
        run: the recipe and its run folder, which is only read.
        model: folder of the base model's tokenizer.
        rows: of each source that are shown.
        only: the one source whose rows are shown; empty: all.

    Raises:
        UserError: the tokenizer ends no text, or a source is wrong.
    """
    recipe = run.recipe
    cut = sequence_len(recipe.train) if strategy(recipe) == "truncate" else 0
    examiner = Examiner(codec_of(model), recipe.serve.parse_special, cut)
    _refuse_eos(recipe, examiner)
    names = list(recipe.data.sources)
    with training_rows(run) as found:
        preview = Preview(
            recipe,
            found.how,
            found.read,
            found.left,
            _hows(recipe),
            {name: [] for name in names if only in ("", name)},
            {name: Measure() for name in names},
        )
        _go_through(preview, found, examiner, rows)
    return preview


def strategy(recipe: Recipe) -> str:
    """What becomes of rows over ``train.sequence_len``: ``drop``, ``truncate`` or ``raise``."""
    return str(recipe.train.get("excess_length_strategy") or "drop").lower()


def refuse_first(recipe: Recipe, rows: int, only: str) -> None:
    """Stop at what can be told before rows are made: of the recipe, and of the first rows.

    Raises:
        UserError: all of it.
    """
    names = list(recipe.data.sources)
    if rows < 1:
        raise UserError(f"N={rows}: how many rows of a source are shown; 1 or more")
    if only and only not in names:
        said = f"SOURCE={only}: no such source{nearest(only, names)}"
        raise UserError(f"{said}; the recipe has {', '.join(names)}")
    refuse(recipe)
    found = [text for _, seen in sources.first_looks(recipe) for text in seen.faults]
    if found:
        raise UserError(found)


def _refuse_eos(recipe: Recipe, examiner: Examiner) -> None:
    codec, wanted = examiner.codec, recipe.model.eos
    if codec.eos_id is None:
        raise UserError(
            "model.eos: missing EOS: the tokenizer names no end-of-text token, so no row would end "
            "in one and the model never stops; set eos_token in its tokenizer_config.json "
            f"({wanted!r} by model.eos)"
        )
    there = codec.token_bytes(codec.eos_id, special=True).decode()
    if there != wanted:
        raise UserError(
            f"model.eos: missing EOS: rows end in the tokenizer's own {there!r}, and model.eos is "
            f"{wanted!r}; set model.eos to the token that its answers end in"
        )


def _hows(recipe: Recipe) -> dict[str, How]:
    """How the records of each source are read, told by the first rows again."""
    form = chats.form(recipe)
    return {
        name: opened(name, source, "", form if chats.is_chat(source) else None)[1]
        for name, source in recipe.data.sources.items()
        if source.kind != "generator"
    }


def _go_through(preview: Preview, found: Rows, examiner: Examiner, rows: int) -> None:
    """Count every row, keep the first ones, note what is wrong."""
    faults = _Faults()
    whole = {name for name, how in preview.hows.items() if how.shape == "text"}
    many = found.count > MANY
    for row in each(found.each(), found.count, "preview", "row") if many else found.each():
        seen = examiner.see(row)
        preview.count(seen)
        shown = preview.shown.get(row.source)
        if shown is not None and len(shown) < rows:
            shown.append(seen)
        for fault in examiner.faults(seen, row.source in whole):
            faults.add(seen, fault)
        if preview.is_long(seen) and strategy(preview.recipe) == "raise":
            faults.add(seen, _too_long(seen, preview.recipe))
    preview.faults = [*faults.lines(), *_none_fits(preview)]


def _too_long(seen: Seen, recipe: Recipe) -> Fault:
    limit = sequence_len(recipe.train)
    return Fault(
        "too long",
        f"{seen.length:,} tokens, more than train.sequence_len {limit:,}, and "
        "train.excess_length_strategy raise ends training at such a row",
        "raise train.sequence_len, or set train.excess_length_strategy=drop",
    )


def _none_fits(preview: Preview) -> Iterator[str]:
    for name, one in preview.measured.items():
        over = preview.over[name]
        if over and over == len(one.lengths) and strategy(preview.recipe) == "drop":
            yield (
                f"data.sources.{name}: all of its {over:,} rows have more than "
                f"{sequence_len(preview.recipe.train):,} tokens (train.sequence_len) and are "
                "dropped: nothing of it is trained; raise it, or part the rows"
            )
