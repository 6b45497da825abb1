"""The questions in the files that HELM's scenarios read: what must not be trained on.

HELM itself makes questions of these files when it evaluates, in an environment of its own; here the
same texts are read before any of that, by the standard library. Files that hold examples for
prompts only are left out: whoever trains on GSM8K's own training rows does nothing wrong.
"""

import csv
import io
import json
import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.questions import hidden_data
from tools.questions.data import Data
from tools.questions.needs import needs
from tools.recipe.run_entries import parts


def asked(descriptions: Iterable[str], data: Data) -> dict[str, list[str]]:
    """The questions of some run entries.

    Args:
        descriptions: ``name:argument=value,...``.
        data: where their files are; all there.

    Returns:
        By scenario, the questions of its files; none of an entry whose files are not known.

    Raises:
        UserError: a fault a file that does not hold what it should.
    """
    files: dict[str, set[Path]] = {}
    for text in descriptions:
        name, found = parts(text)[0], files.setdefault(parts(text)[0], set())
        for need in needs(text):
            if name in _READERS and not need.path.startswith("perturbations/"):
                found.update(filter(None, [data.find(need)]))
    faults: list[str] = []
    questions = {name: _read(name, sorted(paths), faults) for name, paths in files.items()}
    if faults:
        raise UserError(faults)
    return questions


def _read(name: str, paths: list[Path], faults: list[str]) -> list[str]:
    found: list[str] = []
    for path in paths:
        try:
            found += [text for text in _READERS[name](path) if text.strip()]
        except (ValueError, KeyError, IndexError, TypeError, OSError, csv.Error, EOFError) as error:
            faults.append(f"{path}: not a file of HELM's {name} ({error or type(error).__name__})")
        except pickle.UnpicklingError as error:
            faults.append(f"{path}: {error}")
    return found


def _mmlu(path: Path) -> Iterator[str]:
    """Questions of validation and test; those of ``dev`` are examples."""
    if path.parent.name != "dev":
        with path.open(encoding="utf-8", newline="") as file:
            yield from (row[0] for row in csv.reader(file) if row)


def _gsm(path: Path) -> Iterator[str]:
    if path.name.endswith("test"):
        yield from (row["question"] for row in _lines(path))


def _truthful_qa(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from (row["Question"] for row in csv.DictReader(file))


def _bbq(path: Path) -> Iterator[str]:
    """All of a file: which of its lines HELM asks, only a shuffle of all files tells."""
    yield from (f"{row['context']} {row['question']}" for row in _lines(path))


def _big_bench(path: Path) -> Iterator[str]:
    for example in json.loads(path.read_text(encoding="utf-8"))["examples"]:
        yield example["input"]


def _math(path: Path) -> Iterator[str]:
    if path.stem == "test" and path.is_file():  # else the cache of a hub data set
        yield from (row["problem"] for row in _lines(path))


def _summaries(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        splits = _Plain(io.BytesIO(file.read())).load()
    for split in ("validation", "test"):
        for example in splits.get(split, []):
            yield example.get("article") or example["document"]


class _Plain(pickle.Unpickler):
    """Lists, mappings and texts; a pickle that names anything else could run any code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"holds {module}.{name}, and only plain values are read")


def _hidden(name: str) -> Callable[[Path], Iterator[str]]:
    def found(path: Path) -> Iterator[str]:
        questions = hidden_data.questions(name, path)
        yield from (one.text for one in questions if one.split != "train")

    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(text) for text in file if text.strip())


_READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    "mmlu": _mmlu,
    "gsm": _gsm,
    "truthful_qa": _truthful_qa,
    "bbq": _bbq,
    "big_bench": _big_bench,
    "math": _math,
    "summarization_cnndm": _summaries,
    "summarization_xsum": _summaries,
    "summarization_xsum_sampled": _summaries,
    **{name: _hidden(name) for name in hidden_data.SOURCES},
}
