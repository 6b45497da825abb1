"""The files of the challenge's hidden scenarios, and the questions in them.

Standard library only: HELM's venv reads the questions, ours asks which files there are. The paths,
columns, labels, shuffles and splits are those of the organizers' HELM fork (its history is
public: perlitz/private-helm), which read one file a scenario, below HELM's output folder::

    scenarios/sam_sum/data/samsum.tsv                       dialogue, summary
    scenarios/corr2cause/data/corr2cause.csv                label, input
    scenarios/ethics_commonsense/data/commonsense_hard.csv  label, input, is_short, edited
    scenarios/ethics_deontology/data/deontology.csv         label, scenario, excuse
    scenarios/ethics_justice/data/justice_hard.csv          label, scenario
    scenarios/ethics_utilitarianism/data/util.csv           scenario 1, scenario 2, label
    scenarios/ethics_virtue/data/virtue.csv                 label, scenario [SEP] trait

The first line names the columns. They are taken by these names where it has them all, in any order,
else by their place, as the fork did (what its own files called theirs is not known). Comma or tab
parts them. ``util.csv`` may also be the data set's own file, which has no header and two columns,
the more pleasant scenario first; the label is then drawn.

What is a guess: that corr2cause, deontology and virtue offer No before Yes. (Versions of the fork
offer one answer, or the right one first, which cannot be what was scored; justice and commonsense
were mended to offer the answers in the order of their labels, and so these are here.)
"""

import csv
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED = 0  # the fork's, where it had one; commonsense and deontology were shuffled without
SECONDS = 60  # without a byte; then a server is taken for dead
_GISTS = "https://gist.githubusercontent.com/msaroufim"
_ETHICS = "https://huggingface.co/datasets/hendrycks/ethics/resolve/main/data"


@dataclass(frozen=True)
class Source:
    """A scenario's file.

    Attributes:
        file: where it lies, below the scenario's folder.
        columns: what is read of it, by name or place.
        urls: where it is fetched from, the first that answers. First the very file of the
            organizers, then one of the data set's own; none was ever tried from where this was
            written, and which of the own files theirs was made of is a guess.
        train: share of the shuffled rows that are in-context examples; the rest are questions.
    """

    file: str
    columns: tuple[str, ...]
    urls: tuple[str, ...]
    train: float = 0.8


@dataclass(frozen=True)
class Question:
    """A question as HELM shall ask it.

    Attributes:
        text: the input.
        answers: the choices in their order, or the one reference.
        right: index of the right answer.
        split: ``train`` for in-context examples, ``valid`` for questions.
    """

    text: str
    answers: tuple[str, ...]
    right: int
    split: str


SOURCES: dict[str, Source] = {
    "sam_sum": Source(
        "data/samsum.tsv",
        ("dialogue", "summary"),
        (
            f"{_GISTS}/3f1845a5d93b50d849c42b7baeb2f716/raw/"
            "11c2d1814a69bb2cfa54549eaa50c0dcc104b9e5/samsum.tsv",
            "https://huggingface.co/datasets/knkarthick/samsum/resolve/main/test.csv",
        ),
        train=0.0,
    ),
    "corr2cause": Source(
        "data/corr2cause.csv",
        ("label", "input"),
        (
            f"{_GISTS}/2835e9a27490bb183de86c54c0614169/raw/"
            "4160842cd2574716355a5fe9134387a20baed9f8/corr2cause.csv",
            "https://huggingface.co/datasets/causal-nlp/corr2cause/resolve/main/test.csv",
        ),
    ),
    "ethics_commonsense": Source(
        "data/commonsense_hard.csv",
        ("label", "input"),
        (
            f"{_GISTS}/382c21ac4929624918281c71744f234a/raw/"
            "3d24bc372fcbb6a20457f91f948dc3598fb10e34/commonsense_hard.csv",
            f"{_ETHICS}/commonsense/test_hard.csv",
        ),
    ),
    "ethics_deontology": Source(
        "data/deontology.csv",
        ("label", "scenario", "excuse"),
        (
            f"{_GISTS}/ec85b505a0941648d31a1ae9d5132cf7/raw/"
            "2ea4d358f96121e9000ac78051567ed847be887b/deontology.csv",
            f"{_ETHICS}/deontology/test.csv",
        ),
    ),
    "ethics_justice": Source(
        "data/justice_hard.csv",
        ("label", "scenario"),
        (
            f"{_GISTS}/1b9c298b5bbc8cf3cd379c5dc05a3998/raw/"
            "41cfe8da6ffafe473d91d1ae3e3fb1e927d09efa/justice_hard.csv",
            f"{_ETHICS}/justice/test_hard.csv",
        ),
    ),
    "ethics_utilitarianism": Source(
        "data/util.csv",
        ("scenario 1", "scenario 2", "label"),
        (
            f"{_GISTS}/0fe76e3d59214bfe9cc760dda99df5b1/raw/"
            "c0983230762bdbc0a1f3c5873d3f6deb21d04cbe/util.csv",
            f"{_ETHICS}/utilitarianism/test.csv",
        ),
        train=0.7,
    ),
    "ethics_virtue": Source(
        "data/virtue.csv",
        ("label", "scenario"),
        (
            f"{_GISTS}/e9cf8fbdd40a3c801463299f60b2c400/raw/"
            "05aaeb2cb4efc739277653801ce258ad8f997f5b/virtue.csv",
            f"{_ETHICS}/virtue/test.csv",
        ),
    ),
}

Row = tuple[str, tuple[str, ...], int]  # text, answers, index of the right one


def questions(task: str, path: Path) -> list[Question]:
    """All in-context examples and questions of a scenario.

    Args:
        task: its name, a key of ``SOURCES``.
        path: its file.

    Returns:
        First the examples, then the questions. The order is the same whatever the state of
        ``random`` is: that of ``random.Random(0)``. sam_sum is not shuffled, and all asked.

    Raises:
        ValueError: a row is not what the scenario's file holds; says where, and what is wrong.
    """
    source = SOURCES[task]
    try:
        rows = list(_rows(task, path))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not rows:
        raise ValueError(f"{path}: no rows")
    if source.train:
        random.Random(SEED).shuffle(rows)
    cut = int(len(rows) * source.train)
    return [
        Question(text, answers, right, "train" if place < cut else "valid")
        for place, (text, answers, right) in enumerate(rows)
    ]


def locate(task: str, folder: Path) -> Path:
    """A scenario's file, fetched when it is not there.

    Args:
        task: the scenario's name.
        folder: its folder, ``benchmark_output/scenarios/NAME``.

    Raises:
        FileNotFoundError: it is not there and no server gave one with questions in it; says what
            to put where.
    """
    source = SOURCES[task]
    path = folder / source.file
    path.parent.mkdir(parents=True, exist_ok=True)
    faults = []
    for url in () if path.exists() else source.urls:
        fault = _fetch(task, url, path)
        if not fault:
            break
        faults.append(f"{url}: {fault}")
    if path.exists():
        return path
    raise FileNotFoundError(
        f"{task}: {path} is not there and cannot be downloaded ({'; '.join(faults)}); put there a "
        f"CSV file with the columns {', '.join(source.columns)}"
    )


def _fetch(task: str, url: str, path: Path) -> str:
    """Download a file, whole and with questions in it, or say why not."""
    from http.client import HTTPException  # `check` asks this file for names alone
    from urllib.request import urlopen

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with urlopen(url, timeout=SECONDS) as reply:
            part.write_bytes(reply.read())
        questions(task, part)  # an error page may come as 200, too
        part.replace(path)
    except (OSError, ValueError, HTTPException) as error:  # URLError is an OSError
        return str(getattr(error, "reason", None) or error)
    finally:
        part.unlink(missing_ok=True)
    return ""


def _rows(task: str, path: Path) -> Iterator[Row]:
    for line, fields in _fields(task, path):
        try:
            yield _READERS[task](*fields)
        except ValueError as error:
            raise ValueError(f"{path}:{line}: {error}") from None


def _fields(task: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and asked-for fields of each row."""
    columns = SOURCES[task].columns
    # -sig: a byte order mark, as spreadsheets write it, would become part of a column's name.
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        lines = csv.reader(file, delimiter="\t" if "\t" in first else ",")
        header = [name.strip().lower() for name in next(lines, [])]
        if task == "ethics_utilitarianism" and len(header) == 2:
            file.seek(0)
            yield from _pairs(path, csv.reader(file))
            return
        named = set(columns) <= set(header)
        places = [header.index(name) if named else at for at, name in enumerate(columns)]
        for row in filter(None, lines):
            if len(row) <= max(places):
                raise _few(path, lines.line_num, row, columns)
            yield lines.line_num, [row[place] for place in places]


def _pairs(path: Path, lines: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows of the data set's own file of pairs: which scenario stands first is drawn."""
    draw = random.Random(SEED)
    for row in filter(None, lines):
        if len(row) != 2:
            raise _few(path, lines.line_num, row, ("more pleasant", "less pleasant"))
        if row != ["baseline", "less_pleasant"]:  # some copies have a header
            label = draw.randrange(2)
            yield lines.line_num, [*(row[::-1] if label else row), str(label)]


def _few(path: Path, line: int, row: Sequence[str], columns: Sequence[str]) -> ValueError:
    return ValueError(f"{path}:{line}: {len(row)} fields, not {', '.join(columns)}")


def _label(text: str) -> int:
    if text.strip() not in ("0", "1"):
        raise ValueError(f"label {text!r} is neither 0 nor 1")
    return int(text)


def _summary(dialogue: str, summary: str) -> Row:
    return dialogue, (summary,), 0


def _plain(*answers: str) -> Callable[[str, str], Row]:
    """A reader of rows whose text is the question and whose label counts the answers."""
    return lambda label, text: (text.strip(), answers, _label(label))


def _excuse(label: str, scenario: str, excuse: str) -> Row:
    text = f"{scenario.strip()}\nExcuse: {excuse.strip()}"
    return text, ("No", "Yes"), _label(label)


def _trait(label: str, text: str) -> Row:
    scenario, mark, trait = text.partition(" [SEP] ")
    if not mark:
        raise ValueError("no ' [SEP] ' between scenario and trait")
    return f"{scenario.strip()}\nTrait: {trait.strip()}", ("No", "Yes"), _label(label)


def _pair(one: str, two: str, label: str) -> Row:
    text = f"Scenario 1: {one.strip()}\nScenario 2: {two.strip()}"
    return text, ("Scenario 1", "Scenario 2"), _label(label)


_READERS: dict[str, Callable[..., Row]] = {
    "sam_sum": _summary,
    "corr2cause": _plain("No", "Yes"),
    "ethics_commonsense": _plain("Yes", "No"),  # label 0: nothing is wrong with it
    "ethics_deontology": _excuse,
    "ethics_justice": _plain("Unreasonable", "Reasonable"),
    "ethics_utilitarianism": _pair,
    "ethics_virtue": _trait,
}
