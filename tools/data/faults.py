"""What is wrong with a recipe's sources, told without reading them whole."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tools.data import sift, skills
from tools.data.account import Account
from tools.data.origins import NO_ROW, first_rows, placed, watched
from tools.data.reading import formats
from tools.data.reading.fault import Fault
from tools.data.reading.json_rows import Record
from tools.data.shapes import chats, detect
from tools.data.shapes.base import How, Made
from tools.data.shapes.template import BadTemplate
from tools.errors import UserError
from tools.recipe.schema import Model, Recipe, Source
from tools.run.local_files import is_local, local_files, missing

if TYPE_CHECKING:
    from tools.data.shapes.chat_form import ChatForm

#: What many a template of others begins with: the text of a BOS, for tokenizers that add none.
BOS = ("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>")
_NAME = re.compile(r"[\w.-]+")


def faults(sources: dict[str, Source]) -> list[str]:
    """What is wrong with the sources, without reading them."""
    found = [] if sources else ["data.sources: none; add one, or compose data/reasoning"]
    for name, source in sources.items():
        where = f"data.sources.{name}"
        if source.kind == "generator":
            found += _maker_faults(where, source)
        else:
            found += detect.template_faults(name, source)
            if source.difficulty and source.shape == "tree":
                found.append(f"{where}.difficulty: {sift.MANY}")
        if is_local(source):
            found += _local_faults(where, source)
    return found


def _maker_faults(where: str, source: Source) -> Iterator[str]:
    if why := skills.fault(source.path):
        yield f"{where}.path: {why}"
    if source.rows is None:
        yield f"{where}.rows: a maker never ends; say how many rows to make"
    for key in ("shape", "files", "columns", "form"):
        if getattr(source, key) not in ("", [], {}, "plain"):
            yield f"{where}.{key}: a maker has none; leave it out"
    if source.difficulty:
        yield (
            f"{where}.difficulty: a maker's questions have no fields; leave it out, and "
            "data.order: easy-first goes by their level, or by length"
        )


def _local_faults(where: str, source: Source) -> Iterator[str]:
    if source.kind == "local" and not _NAME.fullmatch(where.removeprefix("data.sources.")):
        yield f"{where}: HELM asks for it by name; name it by letters, digits, ., _ and - alone"
    given = {"subset": source.subset, "revision": source.revision}
    given["split"] = source.split if source.split != "train" else ""
    for key, value in given.items():
        if value:
            yield f"{where}.{key}: a file here has no {key}; leave it out, name files by path"


def specials(model: Model) -> tuple[str, ...]:
    """The model's own tokens: an answer that holds one of them would end in its middle."""
    return tuple(dict.fromkeys(filter(None, (model.eos, model.pad))))


class Look(NamedTuple):
    """What the first rows of a source say.

    Attributes:
        faults: what is wrong with them.
        left: why some of them will leave, how many of how many, with the first place.
    """

    faults: list[str]
    left: list[str]


def first_looks(recipe: Recipe) -> Iterator[tuple[str, Look]]:
    """Each source of the user's own files, by name; not those that are wrong without a look."""
    static = faults(recipe.data.sources)
    own_tokens = specials(recipe.model)
    for name, source in recipe.data.sources.items():
        wrong = any(text.startswith(f"data.sources.{name}.") for text in static)
        if is_local(source) and not wrong:
            own = own_tokens if source.kind == "local" else ()
            chat = chats.at_hand(recipe) if chats.is_chat(source) else None
            yield name, look(name, source, own, recipe.model.bos, chat)


def look(
    name: str,
    source: Source,
    specials: Sequence[str] = (),
    bos: str = "",
    chat: "ChatForm | None" = None,
) -> Look:
    """What the first rows of the user's own files say.

    Every file is opened, none read further than its first rows.

    Args:
        name: the source's.
        source: as the recipe has it.
        specials: the model's own tokens, which no answer may hold.
        bos: the token that the model begins with, where the recipe says.
        chat: the model's chat template, where turns are written in it and the model is at hand.
    """
    where, found = f"data.sources.{name}", Look([], [])
    if not local_files(source):
        return Look([f"{where}.path: {missing(source)}"], [])
    how = None
    for path in local_files(source):
        try:
            file, first = first_rows(path, where)
            with placed(file, where):
                if not first:
                    raise Fault(NO_ROW, whole=True)
                how = how or detect.how(source, [row for _, row in first], chat=chat)
            made, account = _rendered(source, file, first, how, where, () if chat else specials)
            found.left.extend(_left(account, where))
            with placed(file, where) as cursor:
                for one in made:
                    cursor.number = one.number
                    if not chat:  # whose template may write it
                        _refuse_beginning(one, how, bos)
                _refuse_none(account, made)
        except (UserError, BadTemplate) as error:
            found.faults.extend(error.faults if isinstance(error, UserError) else [])
    return found


def _rendered(
    source: Source,
    file: formats.File,
    first: list[Record],
    how: How,
    where: str,
    specials: Sequence[str],
) -> tuple[list[Made], Account]:
    """The first rows as they would be trained: whatever is wrong with them is raised."""
    made: list[Made] = []
    account = Account(where)
    with placed(file, where) as cursor:
        records = watched(iter(first), cursor, account)
        # What a shape leaves out, such as a tree's worse answers, is what the shape is for.
        for one in detect.SHAPES[how.shape](records, how, lambda why, number: None):
            if why := sift.judge(one, specials):
                account.leave(why, file.place(one.number))
                continue
            sift.hardness(cursor.row, source.difficulty, how)
            made.append(one)
    if not source.answer and not source.operators:  # which may mend it
        sift.refuse_spelt_out(where, [one.completion for one in made], how.shape)
    return made, account


def _refuse_beginning(made: Made, how: How, bos: str) -> None:
    """Stop at a row that is learnt whole, or begins as the tokenizer begins it."""
    if not made.prompt and how.shape != "text":
        raise Fault(
            "nothing stands before its answer, so 100 % of it would be learnt; give WHERE a "
            "prompt, or say shape: text if its rows are whole texts"
        )
    mark = next((one for one in (bos, *BOS) if one and made.prompt.startswith(one)), "")
    if mark:
        raise Fault(
            f"its prompt begins with {mark}, which is text here: the tokenizer puts a BOS before "
            "each row by itself, and where it puts none serving puts none; leave it out"
        )


def _refuse_none(account: Account, made: list[Made]) -> None:
    answerless = account.left[sift.NO_ANSWER]
    if not made and answerless and answerless == account.read:
        said = f"none of its first {account.read} rows has an answer: their completions are empty"
        raise Fault(f"{said}; is the right field in the completion of WHERE?", whole=True)


def _left(account: Account, where: str) -> Iterator[str]:
    for why, count in account.left.items():
        first = account.first[why]
        yield f"{where}: {count} of the first {account.read} rows leave, {why} (first: {first})"
