"""A preview as text: rows with what is learnt marked, lengths as bars, a table of sources."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serve.text import Detokenizer, TextCodec
from tools.data.tokens import IGNORED
from tools.day.steps import Beyond, beyond
from tools.preview.examine import Answer, Seen
from tools.preview.lengths import Measure, histogram
from tools.preview.look import Preview, strategy
from tools.preview.packing import sequence_len

BINS, BAR = 12, 40  # of the histogram: bins at most, characters of the longest bar
TEMPLATE = 60  # characters of how a source is read
SHOWN = 6  # ids at each end of a long list
_BECOMES = {
    "drop": "are dropped, not trained on",
    "truncate": "are cut, end-of-text token and all",
    "raise": "end the training",
}


@dataclass(frozen=True)
class Marks:
    """What learnt text stands between.

    Attributes:
        begin: before it.
        end: behind it.
        key: what it looks like, in words.
    """

    begin: str
    end: str
    key: str


PLAIN = Marks("[[", "]]", "[[learnt]], its tokens parted by |")
COLOURED = Marks("\x1b[1;32m", "\x1b[0m", "\x1b[1;32mlearnt\x1b[0m, its tokens parted by |")


def marks() -> Marks:
    """Colour on a terminal that wants it (no-color.org), else brackets."""
    wants = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return COLOURED if sys.stdout.isatty() and wants else PLAIN


def render(preview: Preview, codec: TextCodec, marked: Marks) -> str:
    """The whole of a preview.

    Args:
        preview: as ``look`` made it.
        codec: the tokenizer, for the texts of tokens.
        marked: how learnt text is told from other text.
    """
    lines = [f"preview: {preview.how}; {marked.key}", ""]
    for name, shown in preview.shown.items():
        for number, seen in enumerate(shown, 1):
            lines += [*_row(name, number, seen, codec, marked), ""]
    lines += [*_lengths(preview), "", _served(preview), _packing(preview)]
    lines += [f"warning: {one.said}; {one.remedy}" for one in _beyond(preview)]
    return "\n".join([*lines, "", *_table(preview), *_left(preview)])


def _row(name: str, number: int, seen: Seen, codec: TextCodec, marked: Marks) -> Iterator[str]:
    count, share = len(seen.ids), seen.learnt / max(len(seen.ids), 1)
    told = f"{count:,} tokens, {seen.learnt:,} learnt ({share:.0%})"
    if seen.length > count:
        told += f", cut from {seen.length:,}"
    yield f"{name} {number} ({seen.row.place}): {told}"
    yield text(seen, codec, marked)
    if not seen.answers:
        yield "  no prompt: the whole text is learnt"
    for at, answer in enumerate(seen.answers, 1):
        which = f"answer {at}: " if len(seen.answers) > 1 else ""
        yield from _ids(which, answer)


def text(seen: Seen, codec: TextCodec, marked: Marks) -> str:
    """A row token by token: what is learnt between marks, BOS and EOS by their names."""
    pieces, found, learning = Detokenizer(codec, at_start=True), "", False
    for at, (token, label) in enumerate(zip(seen.ids, seen.labels, strict=True)):
        learnt = label != IGNORED
        if learnt != learning:
            found += marked.begin if learnt else marked.end
        if at < seen.lead:
            piece = "<BOS>"
        elif token == codec.eos_id and at == len(seen.ids) - 1:
            piece = f"{pieces.flush()}<EOS>"
        else:
            piece = visible(pieces.push(token) + _special(token, codec))
        found += f"|{piece}" if learnt and learning and piece else piece
        learning = learnt
    return found + (marked.end if learning else "")


def _special(token: int, codec: TextCodec) -> str:
    """The name of a special token, which decoding drops; of others nothing."""
    name = codec.token_bytes(token, special=True).decode(errors="replace")
    return name if name in codec.specials else ""


def visible(written: str) -> str:
    """A text whose control characters do nothing to the terminal; line ends and tabs are kept."""
    kept = "\n\t"
    return "".join(
        one
        if one in kept or (ord(one) >= 32 and not 127 <= ord(one) < 160)
        else f"\\x{ord(one):02x}"
        for one in written
    )


def _ids(which: str, answer: Answer) -> Iterator[str]:
    count = len(answer.served)
    verdict = "equal" if answer.equal else "NOT EQUAL"
    yield f"  {which}trained {short(answer.trained)}"
    yield f"  {which}served  {short(answer.served)} ({count:,} ids of its prompt): {verdict}"


def short(ids: Sequence[int]) -> str:
    """Ids, of a long list both ends."""
    if len(ids) <= 2 * SHOWN:
        return " ".join(map(str, ids))
    return f"{' '.join(map(str, ids[:SHOWN]))} … {' '.join(map(str, ids[-SHOWN:]))}"


def _lengths(preview: Preview) -> Iterator[str]:
    limit, rows = sequence_len(preview.recipe.train), len(preview.kept)
    lengths = sorted(n for one in preview.measured.values() for n in one.lengths)
    if not lengths:
        return
    made = histogram(lengths, BINS)
    most, width = max(made["counts"]), made["bin"]
    yield (
        f"length of {len(lengths):,} rows in tokens: median {made['median']:g}, 95 % are up to "
        f"{made['p95']:,}, longest {made['longest']:,}; train.sequence_len {limit:,}"
    )
    for at, count in enumerate(made["counts"]):
        drawn = "#" * max(round(BAR * count / most), count > 0)
        yield f"  {width * at:>7,} to {width * (at + 1) - 1:>7,}  {drawn:<{BAR}}  {count:,}"
    if over := sum(preview.over.values()):
        yield f"  {over:,} rows are longer and {_BECOMES[strategy(preview.recipe)]}; {rows:,} stay"


def _served(preview: Preview) -> str:
    if not preview.answers:
        return "serving: no row has a prompt that could be served"
    same = preview.answers - preview.unequal
    return (
        f"serving: before {same:,} of {preview.answers:,} answers the worker reads the very ids "
        "that are trained"
    )


def _packing(preview: Preview) -> str:
    found = preview.packing
    return (
        f"packing: {found.how}, {found.efficiency:.1%} of {found.slots:,} tokens an epoch are of "
        f"rows; about {found.steps:,} optimizer steps in all"
    )


def _beyond(preview: Preview) -> Iterator[Beyond]:
    return beyond(preview.recipe.train, preview.packing.steps)


HEAD = (
    "source",
    "read as",
    "rows read",
    "left out",
    "rows to learn",
    "tokens",
    "learnt",
    "too long",
)


def _table(preview: Preview) -> Iterator[str]:
    """A line a source: how it is read, what became of its rows, how much of them is learnt."""
    rows = [list(HEAD)]
    for name, one in preview.measured.items():
        left = sum(count for count, _ in preview.left.get(name, {}).values())
        read = preview.read.get(name)
        numbers = [read, left if read is not None else None, len(one.lengths), one.tokens]
        cells = ["–" if number is None else f"{number:,}" for number in numbers]
        rows.append([name, _read_as(preview, name), *cells, _share(one), f"{preview.over[name]:,}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _share(one: Measure) -> str:
    return f"{one.share:.1%}" if one.lengths else "–"


def _read_as(preview: Preview, name: str) -> str:
    """A maker's name, or the shape of the records with the templates that write them."""
    how = preview.hows.get(name)
    if how is None:
        return f"maker {preview.recipe.data.sources[name].path}"
    if not how.prompt.text:
        return how.shape
    prompt, completion = (repr(one.text)[1:-1] for one in (how.prompt, how.completion))
    said = f'{how.shape} "{prompt}" "{completion}"'
    return said if len(said) <= TEMPLATE else f"{said[: TEMPLATE - 1]}…"


def _left(preview: Preview) -> Iterator[str]:
    for name, reasons in preview.left.items():
        for why, (count, place) in reasons.items():
            yield f"  {name}: {count:,} {why}" + (f" (first: {place})" if place else "")
