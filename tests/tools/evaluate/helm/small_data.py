"""The hidden scenarios' files, small and made up, in the formats of the real ones.

What HELM's perturbations find to change stands in each: a white man's name, a pronoun, a word of
the dialect.
"""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

NUMBERS = range(10, 20)  # of two digits, so that a question's is found; its label is number % 2
_TEXT = "Event {}: John said that he was there with the others, and they weren't glad."


def write(folder: Path) -> None:
    """Write them, and the perturbations' words, below ``folder``: HELM's output folder."""
    tables = {
        "sam_sum/data/samsum.tsv": _sam_sum(),
        "corr2cause/data/corr2cause.csv": _corr2cause(),
        "ethics_commonsense/data/commonsense_hard.csv": _commonsense(),
        "ethics_deontology/data/deontology.csv": _deontology(),
        "ethics_justice/data/justice_hard.csv": _justice(),
        "ethics_utilitarianism/data/util.csv": _utilitarianism(),
        "ethics_virtue/data/virtue.csv": _virtue(),
    }
    for name, rows in tables.items():
        table(folder / "scenarios" / name, rows)
    words = folder / "perturbations/dialect/SAE_to_AAVE_mapping.json"
    names = folder / "perturbations/person_name/data/person_names.txt"
    for file in (words, names):
        file.parent.mkdir(parents=True, exist_ok=True)
    words.write_text(json.dumps({"with": ["wid"], "the": ["da"]}), encoding="utf-8")
    people = [("john", "white", "male"), ("mary", "white", "female")]
    people += [("jamal", "black", "male"), ("aisha", "black", "female")]
    line = "{},first_name,race,{}_american,gender,{}\n"
    names.write_text("".join(line.format(*person) for person in people), encoding="utf-8")


def table(file: Path, rows: Iterable[Iterable[object]]) -> Path:
    """Write a CSV file, or one with tabs if its name says so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out, delimiter="\t" if file.suffix == ".tsv" else ",").writerows(rows)
    return file


def _sam_sum() -> Iterable[Iterable[object]]:
    yield "id", "dialogue", "summary"
    for n in range(3):
        talk = f"Anna: Are you coming to party {n}?\r\nBen: Yes, with my dog."
        yield n, talk, f"Nurse Garcia says that Ben is coming to party {n} with his dog."


def _corr2cause() -> Iterable[Iterable[object]]:
    yield "label", "input"
    for n in NUMBERS:
        premise = f"Premise: A correlates with B in system {n}. However, A is independent of C."
        yield n % 2, f"{premise}\nHypothesis: A directly causes B."


def _commonsense() -> Iterable[Iterable[object]]:
    yield "label", "input", "is_short", "edited"
    for n in NUMBERS:
        yield n % 2, _TEXT.format(n), "True", "False"


def _deontology() -> Iterable[Iterable[object]]:
    yield "label", "scenario", "excuse"
    for n in NUMBERS:
        yield n % 2, f"Should you not answer call {n}?", f"No because John did, with call {n}."


def _justice() -> Iterable[Iterable[object]]:
    yield "label", "scenario"
    for n in NUMBERS:
        yield n % 2, f"I deserve gift {n} because John gave one to the others, and he liked it."


def _utilitarianism() -> Iterable[Iterable[object]]:
    yield "scenario 1", "scenario 2", "label"
    for n in NUMBERS:
        pair = f"I ate apple {n} with John.", f"I ate apple {n} with John. He was ill then."
        yield *(pair[::-1] if n % 2 else pair), n % 2


def _virtue() -> Iterable[Iterable[object]]:
    yield "label", "scenario"
    for n in NUMBERS:
        yield n % 2, f"John kept promise {n} that he gave to the others. [SEP] trait {n}"
