"""What became of a rebuilt run: inputs, files and figures, then and now, and the verdict."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tools.recipe.compose import leaves
from tools.recipe.redact import redact
from tools.recipe.yaml_map import full_key

Verdict = Literal["identical", "equivalent", "different"]

ABSENT = "absent"
# Files that name a folder or the time, so they do not count: Axolotl's model card the run's folder,
# its log both, PEFT's settings the base model's (below the user's own cache). What matters of the
# settings is in the recipe.
PER_RUN = {"README.md", "debug.log", "adapter_config.json"}
SHOWN = 12  # digits of a hash that are printed


@dataclass(frozen=True)
class Difference:
    """An input that is not as it was.

    Attributes:
        kind: recipe, package, code, …
        what: its key, name or file.
        then: its value in the manifest.
        now: its value here.
    """

    kind: str
    what: str
    then: str
    now: str


@dataclass(frozen=True)
class Row:
    """A file of a stage's output: its SHA-256 then and now, None where it was or is not there."""

    stage: str
    file: str
    then: str | None
    now: str | None

    @property
    def same(self) -> bool:
        """Whether the bytes are."""
        return self.then == self.now

    @property
    def counts(self) -> bool:
        """Whether the same bytes may be expected."""
        return self.file not in PER_RUN


@dataclass(frozen=True)
class Figure:
    """How far two models are apart where their bytes are not the same.

    Attributes:
        name: what was measured.
        text: the figures, then and now.
        difference: their distance, in the unit of ``allowed``.
        allowed: the tolerance.
    """

    name: str
    text: str
    difference: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether it is within tolerance; NaN is not."""
        return self.difference <= self.allowed


@dataclass
class Comparison:
    """A run, and the same made again from its manifest.

    Attributes:
        run: the run folder.
        into: the folder of the rebuilt run.
        differences: of the inputs.
        rows: files of all stages but evaluations, whose files hold times.
        figures: what was measured.
        notes: what else is to be known, a line each.
    """

    run: str
    into: str
    differences: list[Difference] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """Whether the rebuilt run is the same to the byte, or by its figures, or neither.

        Rows are made by Python alone, without rounding, so they are the same or the data are not.
        """
        changed = [row for row in self.rows if row.counts and not row.same]
        if not all(figure.holds for figure in self.figures):
            return "different"
        if not changed:
            return "identical"
        lost = any(row.stage == "data" or None in (row.then, row.now) for row in changed)
        return "different" if lost or not self.figures else "equivalent"

    @property
    def exit_code(self) -> int:
        """1 when it is different, else 0."""
        return 1 if self.verdict == "different" else 0

    def render(self) -> str:
        """Files and figures as a short table, what differs by its name, and the verdict."""
        parts = [
            [f"reproduce: {self.run} made again in {self.into}"],
            render_differences(self.differences),
            ["files", *_indented(_files(self.rows))],
            ["figures", *_indented(_figures(self.figures))] if self.figures else [],
            [f"note: {note}" for note in self.notes],
            [f"verdict: {self.verdict}"],
        ]
        return "\n".join(line for part in parts for line in part)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            **dataclasses.asdict(self),
            "rows": [{**dataclasses.asdict(row), "same": row.same} for row in self.rows],
            "verdict": self.verdict,
        }


def differences(kind: str, then: Any, now: Any) -> list[Difference]:
    """What differs between two trees of plain values, by full key.

    Args:
        kind: of the difference.
        then: as the manifest has it; None, where nothing is known, differs from nothing.
        now: as it is.
    """
    if then is None:
        return []
    one, other = _flat(then), _flat(now)
    return [
        Difference(kind, key, one.get(key, ABSENT), other.get(key, ABSENT))
        for key in dict.fromkeys([*one, *other])
        if one.get(key, ABSENT) != other.get(key, ABSENT)
    ]


def _flat(tree: Any) -> dict[str, str]:
    return {full_key(path): str(value) for path, value in leaves(tree) if value not in ([], {})}


def render_differences(found: list[Difference]) -> list[str]:
    """The inputs that differ, a line each."""
    if not found:
        return ["inputs: the same"]
    table = [[d.kind, d.what, f"{_short(d.then)} then, {_short(d.now)} now"] for d in found]
    return ["inputs that differ", *_indented(table)]


def _short(value: str) -> str:
    """A hash by its first digits, and what is long by its beginning."""
    if len(value) == 64 and not set(value) - set("0123456789abcdef"):
        return value[:SHOWN]
    text = redact(value)  # a recipe's value may be a key or a token
    return text if len(text) <= 60 else f"{text[:57]}..."


def _files(rows: Iterable[Row]) -> Iterator[list[str]]:
    by_stage: dict[str, list[Row]] = {}
    for row in rows:
        by_stage.setdefault(row.stage, []).append(row)
    for stage, files in by_stage.items():
        same = sum(row.same for row in files)
        yield [stage, f"{same} of {len(files)} files the same", ""]
        for row in files:
            if not row.same:
                then, now = (_short(sha256 or ABSENT) for sha256 in (row.then, row.now))
                aside = "" if row.counts else " (names a folder or the time: does not count)"
                yield ["", row.file, f"{then} then, {now} now{aside}"]


def _figures(figures: Iterable[Figure]) -> Iterator[list[str]]:
    for figure in figures:
        sign = "within" if figure.holds else "NOT within"
        yield [figure.name, figure.text, f"{figure.difference:.3g}, {sign} {figure.allowed:.3g}"]


def _indented(table: Iterable[list[str]]) -> list[str]:
    """Columns side by side."""
    rows = list(table)
    widths = [max(len(row[at]) for row in rows) for at in range(2)] if rows else []
    return [
        f"  {row[0].ljust(widths[0])}  {row[1].ljust(widths[1])}  {row[2]}".rstrip() for row in rows
    ]
