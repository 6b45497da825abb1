"""Reading the recipe's sources: our makers, the user's own files, data sets of the hub."""

import itertools
import random
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.data import sift, skills
from tools.data.account import Account
from tools.data.curated import Curation
from tools.data.origins import NO_ROW, Origin, opened, placed, watched
from tools.data.reading.fault import Fault
from tools.data.render import Item, Pair, pair
from tools.data.rows import Rows, Stored
from tools.data.shapes import detect
from tools.data.shapes.base import How, Made
from tools.data.shapes.template import as_text, is_missing
from tools.errors import UserError
from tools.recipe.schema import Source

if TYPE_CHECKING:
    from tools.data.shapes.chat_form import ChatForm

SAMPLE = 1000  # answers that tell what kind they are

TWICE = "with the prompt of an earlier row"
LONG = "longer than data.max_words"

_BLANKS = b" \t\n\v\f\r\x1c\x1d\x1e\x1f"  # at which str.split parts ASCII


@dataclass
class Limits:
    """What the recipe says of all sources.

    Attributes:
        max_words: of prompt and completion together.
        seed: of the source's draws.
        specials: the model's own tokens, which no answer may hold.
        fields: of each record, those that are kept beside the row.
        chat: the model's chat template, where the source's turns are written in it.
    """

    max_words: int
    seed: str = ""
    specials: tuple[str, ...] = ()
    fields: frozenset[str] = frozenset()
    chat: "ChatForm | None" = None


@dataclass
class Gathered:
    """What was made of some of a source's records.

    Attributes:
        rows: the rows.
        account: what became of the records.
        long: of each row, whether it has too many words.
        sample: its first answers.
    """

    rows: Rows
    account: Account
    long: bytearray = field(default_factory=bytearray)
    sample: list[str] = field(default_factory=list)

    def append(self, part: "Gathered") -> None:
        """Put what was made of the records behind these beside them."""
        self.rows.append(part.rows)
        self.account.join(part.account)
        self.long += part.long
        self.sample += part.sample[: SAMPLE - len(self.sample)]


@dataclass(frozen=True)
class Reading:
    """A file of a source, or a part of one, that can be read by itself.

    Attributes:
        name: the source's.
        source: its description.
        limits: what the recipe says of all sources.
        how: its records are read.
        index: number of the file among the source's.
        origin: the file, or the part.
        size: about how many bytes.
        path: where its rows go.
    """

    name: str
    source: Source
    limits: Limits
    how: How
    index: int
    origin: Origin
    size: int = 0
    path: Path = Path()


@dataclass
class Taken:
    """A source whose records were read by others.

    Attributes:
        origins: its files.
        how: its records were read.
        parts: what was made of them, in their order; a fault of one is raised when its turn comes.
        path: where its rows go.
    """

    origins: Sequence[Origin]
    how: How
    parts: Iterator[Gathered]
    path: Path


@dataclass
class Found:
    """What one source gives.

    Attributes:
        pairs: in an order that the seed decides.
        answers: of what kind they are: ``letter``, ``number``, ``string`` or ``text``.
        account: what became of the rows.
        rows: where they lie, unless they were made.
        shape: of its records.
        end: what the chat template ends each answer with; empty in the plain form.
    """

    pairs: Sequence[Item]
    answers: str
    account: Account
    rows: Rows | None = None
    shape: str = ""
    end: str = ""


def read(
    name: str,
    source: Source,
    held: int,
    limits: Limits,
    folder: Path,
    bounded: bool = False,
    curation: Curation | None = None,
    taken: Taken | None = None,
) -> Found:
    """All pairs wanted from one source, in an order that the seed decides.

    No prompt comes twice, unless the source has a ``dedup`` of its own to say what is.

    Args:
        name: the source's name in the recipe.
        source: its description.
        held: pairs wanted beyond ``source.rows``, for validation and test.
        limits: what the recipe says of all sources.
        folder: where rows may lie while they are sifted.
        bounded: fewer than ``held`` will do, for they are bounded by a share of what there is.
        curation: does what the source's operators say, to imported rows before they are counted
            out, to a maker's rows when they are made.
        taken: its records, where they were read already.

    Raises:
        UserError: the file, a field or enough different rows are missing.
    """
    where, account = f"data.sources.{name}", Account(name)
    rng = random.Random(limits.seed)
    steps = source.operators if curation else []
    if source.kind == "generator":
        assert source.rows is not None
        wanted = source.rows + held
        made = _counted(_made(name, source, rng), account)
        pairs = _enough(where, list(_kept(made, wanted, limits.max_words, account)), wanted)
        answers = pairs[0].question.format if pairs[0].question else "text"
        if curation and steps:
            pairs = curation.source(name, pairs, account)
        return Found(pairs, answers, account)
    rows, answers, shape, long = _stored(name, source, limits, folder, account, taken)
    twins = any("dedup" in step for step in steps)
    order: Any = _sifted(rows, long, account, limits.max_words, where, twins)
    if curation and steps:
        items = curation.source(name, [Stored(rows, at) for at in order], account)
        order = list(_judged(where, items, limits, account))
    rng.shuffle(order)
    if source.rows is not None:
        wanted = source.rows + (0 if bounded else held)
        _enough(where, order, wanted)
        leave_beyond(name, account, _items(rows, order[source.rows + held :]))
        order = order[: source.rows + held]
    end = limits.chat.end if limits.chat else ""
    found = Found(_items(rows, order), answers, account, rows, shape, end)
    if steps:
        settle(where, source, found)
    return found


def _items(rows: Rows, order: Iterable[Any]) -> list[Item]:
    """Rows by their numbers; what operators have gone through is none any more."""
    return [Stored(rows, one) if isinstance(one, int) else one for one in order]


def _judged(where: str, items: Iterable[Item], limits: Limits, account: Account) -> Iterator[Item]:
    """The rows that operators left, those that they wrote otherwise judged anew."""
    for item in items:
        if isinstance(item, Pair):
            try:
                why = sift.judge(Made(0, item.prompt, item.completion), limits.specials)
            except Fault as fault:
                said = f"{item.place}: after {where}.operators: {fault.said}"
                raise UserError(said) from None
            if why:
                account.leave(f"{why} after {where}.operators", item.place)
                continue
        yield item


def settle(where: str, source: Source, found: Found) -> None:
    """Tell anew what kind a source's answers are, after operators.

    Args:
        where: its full key.
        source: as the recipe has it.
        found: what it gave; changed in place.

    Raises:
        UserError: its answers are letters with their texts.
    """
    if found.rows is None:
        return
    sample = [item.completion.removesuffix(found.end) for item in found.pairs[:SAMPLE]]
    if not source.answer:
        sift.refuse_spelt_out(where, sample, found.shape)
    found.answers = _answers(source, found.shape, sample)
    found.rows.joins = _joins(source, found.shape, found.answers)


def _answers(source: Source, shape: str, sample: Sequence[str]) -> str:
    if source.form == "chat_template":
        return source.answer or "none"
    return "letter" if shape == "mcq" else source.answer or sift.kind(sample)


def _joins(source: Source, shape: str, answers: str) -> bool:
    own = bool(source.answer) or source.kind == "local"
    if source.form == "chat_template":
        return False
    return shape == "mcq" or (own and answers not in ("text", "none") and shape == "pairs")


def leave_beyond(name: str, account: Account, pairs: Sequence[Item]) -> None:
    """Note that these rows of a source are more than its recipe asks for."""
    if pairs:
        why = f"more than data.sources.{name}.rows asks for"
        account.leave(why, pairs[0].place, len(pairs))


def _stored(
    name: str,
    source: Source,
    limits: Limits,
    folder: Path,
    account: Account,
    taken: Taken | None,
) -> tuple[Rows, str, str, bytearray]:
    """The source's rows on the disk, the kind of their answers, their shape, which are too long."""
    where = f"data.sources.{name}"
    origins, how = (
        (taken.origins, taken.how) if taken else opened(name, source, limits.seed, limits.chat)
    )
    account.told.append(f"{', '.join(dict.fromkeys(map(str, origins)))}; {how.told}")
    path = taken.path if taken else None
    made = Gathered(Rows(name, folder, origins, path, source.form), account)
    if taken:
        for part in taken.parts:
            made.append(part)
    else:
        for index, origin in enumerate(origins):
            _gather(Reading(name, source, limits, how, index, origin), made)
    rows = made.rows
    rows.done()
    if not account.read:
        raise UserError(f"{origins[0].place(None)}: {NO_ROW} ({where})")
    if not source.answer and not source.operators:  # which may mend it
        sift.refuse_spelt_out(where, made.sample, how.shape)
    answers = _answers(source, how.shape, made.sample)
    rows.joins = _joins(source, how.shape, answers)
    return rows, answers, how.shape, made.long


def read_part(reading: Reading) -> Gathered:
    """Read a file or a part of one, in a process of its own.

    Raises:
        UserError: a record is wrong.
    """
    path = reading.path
    found = Gathered(Rows(reading.name, path.parent, path=path), Account(reading.name))
    _gather(reading, found)
    found.rows.done()
    return found


def _gather(reading: Reading, found: Gathered) -> None:
    """Make rows of records."""
    source, limits, how, origin = reading.source, reading.limits, reading.how, reading.origin
    rows, account, long, sample = found.rows, found.account, found.long, found.sample
    where = f"data.sources.{reading.name}"
    wanted = how.prompt.fields | how.completion.fields if how.shape == "pairs" else set()
    wanted |= {*limits.fields, source.difficulty} - {""} if wanted else set()
    # A path through a tree is of many records, so none of their fields is the row's.
    kept = limits.fields if how.shape != "tree" else ()
    graded = bool(source.difficulty)
    chat = limits.chat
    specials = () if chat else limits.specials  # a template's own; it looks for others itself
    with placed(origin, where) as cursor:
        records = watched(origin.records(where, wanted), cursor, account)
        leave = _leaver(account, origin)
        for made in detect.SHAPES[how.shape](records, how, leave):
            if why := sift.judge(made, specials):
                leave(why, made.number)
                continue
            rows.columns = rows.columns or list(cursor.row)
            rows.add(
                made,
                reading.index,
                _kept_fields(cursor.row, kept) if kept else None,
                sift.hardness(cursor.row, source.difficulty, how) if graded else None,
            )
            # Words are parted by blanks: so many cannot be in so few characters.
            large = len(made.prompt) + len(made.completion) > 2 * limits.max_words
            long.append(large and _too_long(made, limits.max_words))
            if len(sample) < SAMPLE:
                sample.append(made.completion.removesuffix(chat.end if chat else ""))


def _kept_fields(row: dict[str, Any], names: Collection[str]) -> dict[str, str]:
    return {name: as_text(row[name], name) for name in names if not is_missing(row.get(name))}


def _leaver(account: Account, origin: Origin) -> Any:
    return lambda why, number: account.leave(why, origin.place(number))


def _too_long(made: Made, words: int) -> bool:
    prompt, completion = made.prompt, made.completion
    # Blanks are counted sooner than words are made of a text, and settle it for most rows.
    if prompt.isascii() and completion.isascii():
        both = b"%b\n%b" % (prompt.encode(), completion.encode())
        if len(both) - len(both.translate(None, _BLANKS)) < words:
            return False
    return len(prompt.split()) + len(completion.split()) > words


def _sifted(
    rows: Rows, long: bytearray, account: Account, max_words: int, where: str, twins: bool
) -> "array[int]":
    """The rows that stay, in their own order: the first of each prompt, if it is short enough.

    With ``twins`` the others stay, too: an operator says which are.
    """
    first = b"\1" * len(rows) if twins else rows.first_of_each()
    kept = array("q")
    for at in range(len(rows)):
        if not first[at]:
            account.leave(TWICE, rows.place(at))
        elif long[at]:
            account.leave(f"{LONG} {max_words}", rows.place(at))
        else:
            kept.append(at)
    if not kept:
        reasons = "; ".join(f"{n:,} {why}" for why, n in account.left.most_common())
        raise UserError(
            f"{where}: no row is left of {account.read:,} read: {reasons}"
            + ("; raise data.max_words" if any(LONG in why for why in account.left) else "")
        )
    return kept


def _counted(pairs: Iterable[Pair], account: Account) -> Iterator[Pair]:
    for item in pairs:
        account.read += 1
        yield item


def _made(name: str, source: Source, rng: random.Random) -> Iterator[Pair]:
    """Questions from a maker, without end."""
    make = skills.maker(source.path)
    while True:
        yield pair(name, make(rng))


def _kept(made: Iterable[Pair], wanted: int, words: int, account: Account) -> Iterator[Pair]:
    """What a maker must give; one that has run out would hang us: 50 tries a row are enough."""
    seen: set[str] = set()
    for item in itertools.islice(made, 50 * wanted):
        if len(item.prompt.split()) + len(item.completion.split()) > words:
            account.leave(f"{LONG} {words}", f"question {account.read}")
        elif item.prompt in seen:
            account.leave(TWICE, f"question {account.read}")
        else:
            seen.add(item.prompt)
            yield item
            if len(seen) == wanted:
                return


def _enough(where: str, found: Sequence[Any], wanted: int) -> Any:
    if len(found) < wanted:
        raise UserError(
            f"{where}.rows: {wanted} different rows wanted (held-out ones included), there are "
            f"{len(found)} of at most data.max_words; lower rows, data.validation_rows or "
            "data.test_rows"
        )
    return found[:wanted]
