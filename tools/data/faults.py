"""What is wrong with a recipe's sources, told without reading them whole."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tools.data import sift, skills
from tools.data.account import Account
from tools.data.origins import NO_ROW, first_rows, placed, watched
from tools.data.reading import formats
from tools.data.reading.fault import Fault
from tools.data.reading.json_rows import Record
from tools.data.shapes import detect
from tools.data.shapes.base import How, Made
from tools.data.shapes.template import BadTemplate
from tools.errors import UserError
from tools.recipe.schema import Source
from tools.run.local_files import is_local, local_files, missing

if TYPE_CHECKING:
    from tools.data.shapes.chat_form import ChatForm

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


def look(name: str, source: Source, chat: "ChatForm | None" = None) -> list[str]:
    """What is wrong with the first rows of the user's own files.

    Every file is opened, none read further than its first rows.

    Args:
        name: of the source.
        source: its description.
        chat: the model's chat template, where turns are written in it and the model is at hand.
    """
    where, found = f"data.sources.{name}", []
    if not local_files(source):
        return [f"{where}.path: {missing(source)}"]
    how = None
    for path in local_files(source):
        try:
            file, first = first_rows(path, where)
            with placed(file, where):
                if not first:
                    raise Fault(NO_ROW, whole=True)
                how = how or detect.how(source, [row for _, row in first], chat=chat)
            _rendered(source, file, first, how, where)
        except (UserError, BadTemplate) as error:
            found += error.faults if isinstance(error, UserError) else []
    return found


def _rendered(
    source: Source, file: formats.File, first: list[Record], how: How, where: str
) -> None:
    """The first rows as they would be trained: whatever is wrong with them is raised."""
    made: list[Made] = []
    with placed(file, where) as cursor:
        records = watched(iter(first), cursor, Account(""))
        for one in detect.SHAPES[how.shape](records, how, lambda why, number: None):
            sift.judge(one)
            sift.hardness(cursor.row, source.difficulty, how)
            made.append(one)
    if not source.answer and not source.operators:  # which may mend it
        sift.refuse_spelt_out(where, [one.completion for one in made], how.shape)
