"""Who is compared: entries of published results, of HELM suites and of run folders, mixed.

Published results are JSON: ``{"source", "track", "entries": [{"entry": NAME, "metrics": {COLUMN:
number or null}, "mean_win_rate"?, "score"?}]}``. A HELM suite is a folder of HELM's run folders
(``benchmark_output/runs/SUITE``), an entry a model. A run folder gives ``NAME base`` and ``NAME
tuned``, of its ``eval/base`` and ``eval/tuned``, and with the day and time (UTC) behind the name
those that ``tools.run.folder`` kept beside them when the recipe changed: yesterday's.
"""

import itertools
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.files import read_json
from tools.recipe.faults import nearest
from tools.run.folder import RECORD
from tools.score import suites
from tools.score.ranking import column
from tools.score.suites import Spec

WHO = ("base", "tuned")
SUITES = Path("benchmark_output", "runs")  # below the folder that HELM ran in
_LONGEST = 60  # characters of a wrong value that are shown
_LARGEST = sys.float_info.max
_CONSTANTS = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}  # pandas' null is NaN
_FOLDERS = "a HELM suite (benchmark_output/runs/SUITE), or a run folder that was evaluated"
_SHAPE = 'published results are {"entries": [{"entry": NAME, "metrics": {COLUMN: number or null}}]}'


@dataclass(frozen=True)
class Entry:
    """One row of the pool.

    Attributes:
        name: unique in its pool.
        metrics: by column, spelt as the board spells it; None is a missing value.
        source: the file or folder it is from.
        specs: the run specs behind the metrics; none of a published entry.
        claimed: what the file itself says of its scores, ``{"open", "hidden", "full"}``.
        when: end of its evaluation, seconds since 1970; 0 of a published entry.
    """

    name: str
    metrics: dict[str, float | None]
    source: Path
    specs: tuple[Spec, ...] = ()
    claimed: dict[str, float] | None = None
    when: float = 0.0

    @property
    def own(self) -> bool:
        """Whether its answers are at hand, not only its figures."""
        return bool(self.specs)


def read(paths: Sequence[Path]) -> list[Entry]:
    """The entries of files and folders, in their order; a path given twice counts once.

    Raises:
        UserError: paths that hold no entries, and whatever is wrong in the others, all at once.
    """
    entries: list[Entry] = []
    faults: list[str] = []
    for path in {path.resolve(): path for path in paths}.values():
        found, wrong = _read(path)
        entries += found
        faults += wrong
        if not found and not wrong:
            faults.append(f"{path}: holds no entries; give published results (JSON), {_FOLDERS}")
    if faults:
        raise UserError(faults)
    return unique(entries)


def own(root: Path) -> list[Entry]:
    """The entries of all run folders below ``root``: today's run beside yesterday's.

    Raises:
        UserError: there are none, or their files cannot be read.
    """
    entries, faults = _runs(root)
    if faults:
        raise UserError(faults)
    if not entries:
        raise UserError(
            f"{root}: nothing evaluated there yet; evaluate with: make eval, or score published "
            "results: make score POOL=results.json"
        )
    return unique(entries)


def _read(path: Path) -> tuple[list[Entry], list[str]]:
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _published(path)
    beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    near = nearest(path.name, beside, "" if path.parent == Path() else f"{path.parent}/")
    return [], [f"{path}: no such file or folder{near}"]


def _folder(path: Path) -> tuple[list[Entry], list[str]]:
    """A run folder, a suite, or a folder of either."""
    found, faults = _run(path)
    if found or faults:
        return found, faults
    if suites.is_suite(path):
        return _suite(path)
    # The folder that HELM ran in, one that holds runs/, or that of the runs itself.
    for inner in (path / SUITES, path / "runs", path):
        found, faults = _below(inner) if inner.is_dir() else ([], [])
        if found or faults:
            return found, faults
    return [], []


def _below(path: Path) -> tuple[list[Entry], list[str]]:
    found, faults = _runs(path)
    if found or faults:
        return found, faults
    return _all(_suite, filter(suites.is_suite, sorted(path.iterdir())))


def _runs(root: Path) -> tuple[list[Entry], list[str]]:
    """The run folders below ``root``, oldest evaluation first."""
    folders = sorted(root.iterdir()) if root.is_dir() else []
    entries, faults = _all(_run, [path for path in folders if (path / "eval").is_dir()])
    return sorted(entries, key=lambda entry: entry.when), faults


def _all(
    reader: Callable[[Path], tuple[list[Entry], list[str]]], paths: Iterable[Path]
) -> tuple[list[Entry], list[str]]:
    """What is read from some folders; links to one of them, as ``runs/latest``, add nothing."""
    entries: list[Entry] = []
    faults: list[str] = []
    for path in {path.resolve(): path for path in paths}.values():
        found, wrong = reader(path)
        entries += found
        faults += wrong
    return entries, faults


def _run(path: Path) -> tuple[list[Entry], list[str]]:
    """``NAME base`` and ``NAME tuned``, as far as they were evaluated, and what they were before.

    The oldest is first.
    """
    entries: list[Entry] = []
    faults: list[str] = []
    for name, folder, when in _evaluations(path):
        specs, wrong = _specs(folder / SUITES)
        faults += wrong
        if specs:
            entries.append(_entry(name, folder, specs, when))
    return sorted(entries, key=lambda entry: entry.when), faults


def _evaluations(path: Path) -> Iterator[tuple[str, Path, datetime | None]]:
    """The evaluations in a run folder: what each is called, its folder, when it was finished.

    ``tools.run.folder`` keeps under ``.WHO.FINGERPRINT.partial`` what another recipe of that name
    made, but also what is not finished: only what its record says is whole is one.
    """
    for who in WHO:
        name, present = f"{path.resolve().name} {who}", path / "eval" / who
        yield name, present, _finished(present, who)
        for kept in sorted(present.parent.glob(f".{who}.*.partial")):
            finished = _finished(kept, who)
            if finished and _whole(kept):
                yield f"{name} {finished:%Y-%m-%d %H:%M}", kept, finished


def _finished(folder: Path, who: str) -> datetime | None:
    """When an evaluation was finished, by its record; None without one."""
    record = read_json(folder / RECORD)
    if not isinstance(record, dict) or record.get("stage") != f"eval_{who}":
        return None
    try:
        return datetime.fromisoformat(str(record.get("finished"))).astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def _whole(folder: Path) -> bool:
    """Whether all files of an evaluation's record are there, by their size."""
    try:
        files = read_json(folder / RECORD)["outputs"].items()
        return all((folder / file).stat().st_size == entry["size"] for file, entry in files)
    except (AttributeError, KeyError, OSError, TypeError):
        return False


def _specs(runs: Path) -> tuple[list[Spec], list[str]]:
    """The run specs of all suites of an evaluation, each suite once, whatever links to it."""
    specs: list[Spec] = []
    faults: list[str] = []
    folders = sorted(runs.iterdir()) if runs.is_dir() else []
    for suite in {path.resolve(): path for path in folders if path.is_dir()}.values():
        found, wrong = suites.read(suite)
        specs += found
        faults += wrong
    return specs, faults


def _suite(path: Path) -> tuple[list[Entry], list[str]]:
    """An entry a model; the challenge's nameless one is called as the suite."""
    specs, faults = suites.read(path)
    local = suites.LOCAL.replace("/", "_")
    models = dict.fromkeys(spec.model for spec in specs)
    entries = [
        _entry(
            path.resolve().name if model == local else model,
            path,
            [spec for spec in specs if spec.model == model],
        )
        for model in models
    ]
    return entries, faults


def _entry(name: str, source: Path, specs: list[Spec], finished: datetime | None = None) -> Entry:
    touched = max(spec.folder.stat().st_mtime for spec in specs)  # HELM writes no time
    when = finished.timestamp() if finished else touched
    return Entry(name, suites.columns(specs), source, tuple(specs), when=when)


def _published(path: Path) -> tuple[list[Entry], list[str]]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"), parse_constant=_CONSTANTS.get)
    except (OSError, ValueError, RecursionError) as error:  # too many brackets
        return [], [f"{path}: not JSON ({error}); {_SHAPE}"]
    rows = tree.get("entries") if isinstance(tree, dict) else None
    if not isinstance(rows, list) or not rows:
        return [], [f"{path}: no entries; {_SHAPE}"]
    entries: list[Entry] = []
    faults: list[str] = []
    for number, row in enumerate(rows, 1):
        entry, wrong = _row(path, f"{path}: entry {number}", row)
        entries += [entry] if entry else []
        faults += wrong
    # Of one board: what an entry lacks and another has is a missing value, not a stage never run.
    board: dict[str, float | None] = {name: None for one in entries for name in one.metrics}
    if not board and not faults:
        return [], [f"{path}: no entry has metrics; {_SHAPE}"]
    return [replace(one, metrics={**board, **one.metrics}) for one in entries], faults


def _row(path: Path, where: str, row: Any) -> tuple[Entry | None, list[str]]:
    name = row.get("entry") if isinstance(row, dict) else None
    metrics = row.get("metrics") if isinstance(row, dict) else None
    if not isinstance(name, str) or not name.strip() or not isinstance(metrics, dict):
        return None, [f"{where}: needs entry, its name, and metrics, a mapping; {_SHAPE}"]
    where = f"{where} ({name})"
    faults = [
        f"{where}: {key}: must be a number or null, not {json.dumps(value)[:_LONGEST]}"
        for key, value in metrics.items()
        if not _number(value)
    ]
    spelt = Counter(column(key).name for key in metrics)
    faults += [f"{where}: {key} twice; keep one" for key, times in spelt.items() if times > 1]
    if faults:
        return None, faults
    found = {column(key).name: value for key, value in metrics.items()}
    return Entry(name, found, path, claimed=_claimed(row.get("score"))), []


def _number(value: Any) -> bool:
    if value is None:
        return True
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and -_LARGEST <= value <= _LARGEST  # which neither NaN nor infinity is


def _claimed(score: Any) -> dict[str, float] | None:
    if not isinstance(score, dict):
        return None
    found = {stage: value for stage, value in score.items() if value is not None}
    return found if all(map(_number, found.values())) else None


def unique(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, those that share a name called with the file or folder they are from."""
    places: tuple[Callable[[Entry], str], ...] = (
        lambda entry: entry.source.name,
        lambda entry: str(entry.source),
    )
    names = [entry.name for entry in entries]
    for place in places:
        shared = {name for name, times in Counter(names).items() if times > 1}
        names = [
            f"{entry.name} ({place(entry)})" if name in shared else name
            for name, entry in zip(names, entries, strict=True)
        ]
    free: list[str] = []
    for name in names:
        numbered = (f"{name} #{number}" for number in itertools.count(2))
        free.append(next(one for one in itertools.chain([name], numbered) if one not in free))
    return [replace(entry, name=name) for name, entry in zip(free, entries, strict=True)]
