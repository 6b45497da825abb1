"""The catalogue: what is known of the sets that recipes name, and who says so.

A file of ``recipes/data/catalogue/`` is a layer, and its ``catalogue`` section holds the facts,
which no recipe sees.
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from tools.recipe import yaml_map
from tools.recipe.compose import CATALOGUE
from tools.recipe.fill import fill
from tools.recipe.schema import Source


@dataclass
class Part:
    """Rows that one value of the entry's column marks.

    Attributes:
        licence: theirs.
        stated_by: who says so.
        origin: who made them.
        rows: how many; 0 where nobody counted.
        remark: what else is to be known.
    """

    licence: str
    stated_by: str
    origin: str
    rows: int = 0
    remark: str = ""


@dataclass
class Asked:
    """Rows that hold questions of HELM's scenarios.

    Attributes:
        column: what they are told by.
        values: shell patterns of its values.
    """

    column: str
    values: list[str]


@dataclass
class Entry:
    """One set.

    Attributes:
        id: hub id.
        commit: of its main branch; empty where none is known.
        commit_from: where the commit was read.
        licence: ``mixed`` where ``parts`` has more than one, ``unknown`` where nobody states one.
        stated_by: who states the licence.
        origin: who made the rows, as a recipe says it; ``mixed`` as above.
        made_by: the same in words.
        shape: how the rows are read.
        rows: by split.
        columns: what each holds.
        defects: what is wrong with it.
        copies: other ids with these rows, or most of them.
        files: names in the repository.
        column: tells the parts apart.
        parts: by value of ``column``.
        asked: what of it HELM asks.
        unverified: which of its facts nobody could verify.
        script: what to do instead of loading it, where it is only a loading script.
        script_at: ids that are; empty: ``id``.
        gated: what the hub wants before it gives the set out.
    """

    id: str
    commit: str
    commit_from: str
    licence: str
    stated_by: str
    origin: str
    made_by: str
    shape: str
    rows: dict[str, int]
    columns: dict[str, str]
    defects: list[str]
    copies: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    column: str = ""
    parts: dict[str, Part] = field(default_factory=dict)
    asked: Asked | None = None
    unverified: list[Literal["commit", "licence"]] = field(default_factory=list)
    script: str = ""
    script_at: list[str] = field(default_factory=list)
    gated: str = ""

    @property
    def ids(self) -> list[str]:
        """Its own id and those of its copies."""
        return [self.id, *self.copies]

    def is_script(self, path: str) -> bool:
        """Whether an id is a loading script, which nothing loads any more."""
        return bool(self.script) and path.lower() in map(str.lower, self.script_at or [self.id])

    def kept(self, source: Source) -> dict[str, Part]:
        """The parts that a source's operators leave in."""
        return {
            value: part
            for value, part in self.parts.items()
            if not left_out(source, self.column, value)
        }


def left_out(source: Source, column: str, value: str) -> bool:
    """Whether a source's ``allow`` and ``deny`` leave out the rows with a value.

    Args:
        source: the source.
        column: the field that its operators name.
        value: of the field; a shell pattern counts as left out where the very same is denied.
    """
    for step in source.operators:
        # By name: more kinds of operators may come, and these two are what parts can be told by.
        for name, options in step.items():
            if name in ("allow", "deny") and getattr(options, "column", "") == column:
                values = getattr(options, "values", [])
                found = value in values or any(fnmatch.fnmatchcase(value, one) for one in values)
                if found == (name == "deny"):
                    return True
    return False


def find(source: Source) -> Entry | None:
    """What is known of the set that a source takes from the hub."""
    if source.kind != "hub" or not source.path:
        return None
    path = source.path.lower()
    for file in files():
        # Reading YAML takes longer than looking whether it names the set at all.
        if path in _text(file) and path in map(str.lower, read(file).ids):
            return read(file)
    return None


def files() -> Sequence[Path]:
    """The catalogue's files, by name."""
    return sorted(CATALOGUE.glob("*.yaml"))


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8").lower()


@cache
def read(file: Path) -> Entry:
    """The facts of one file; that they have this shape, the tests see to."""
    entry: Entry = fill(Entry, yaml_map.read(file)["catalogue"])
    return entry
