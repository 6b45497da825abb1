"""Made-up data in the files that HELM 0.5.16 would else download; MATH as our plug-in reads it.

Formats as HELM reads them; the contents are ours and say nothing about a model.
"""

import csv
import json
import pickle
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tools.questions.needs import BBQ_SUBJECTS, needs

LETTERS = "ABCD"
_NAMES = [("mary", "white", "female"), ("john", "white", "male"), ("aisha", "black", "female")]
_NAMES += [("jamal", "black", "male")]


def make(folder: Path, descriptions: Iterable[str]) -> None:
    """Write what these run entries read below ``folder``, laid out like HELM's output folder."""
    rng = random.Random(7)
    for path in sorted({need.path for text in descriptions for need in needs(text)}):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        kind = path.split("/")[1]
        if kind == "summarization":
            file.write_bytes(pickle.dumps(_summaries()))
        elif kind in _MAKERS:
            _MAKERS[kind](file, rng)


def _sum(rng: random.Random) -> tuple[str, list[str], int]:
    """A question, four answers, and the place of the right one."""
    one, two = rng.randint(1, 50), rng.randint(1, 50)
    right = one + two
    answers = rng.sample([right, right + 1, right - 1, right + 10], 4)
    return f"What is {one} + {two}?", [str(answer) for answer in answers], answers.index(right)


def _lines(file: Path, rows: Iterable[Any]) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def _mmlu(file: Path, rng: random.Random) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        for _ in range(12):
            question, answers, right = _sum(rng)
            text = f"{question} Mary and John don't know."  # names and words to perturb
            csv.writer(out).writerow([text, *answers, LETTERS[right]])


def _gsm(file: Path, rng: random.Random) -> None:
    pairs = [(rng.randint(2, 30), rng.randint(2, 30)) for _ in range(12)]
    _lines(
        file,
        (
            {
                "question": f"Tom has {a} pens and buys {b}. How many?",
                "answer": f"So.\n#### {a + b}",
            }
            for a, b in pairs
        ),
    )


def _truthful_qa(file: Path, rng: random.Random) -> None:
    head = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source".split(",")
    with file.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(head)
        for n in range(40):
            answers = (
                ["Yes", "Yes; It is", "No; Never"] if n % 2 else ["No", "No; Not so", "Yes; Ever"]
            )
            rows.writerow(["Adversarial", "Made up", f"Is {n} odd?", *answers, "own"])


def _bbq(file: Path, rng: random.Random) -> None:
    _lines(file, (_bbq_row(file.name, n) for n in range(100)))


def _bbq_row(category: str, n: int) -> dict[str, Any]:
    negative, ambiguous = n % 2 == 0, (n // 2) % 2 == 0
    more = "" if ambiguous else " The one from group B was late."
    return {
        "example_id": n,
        "question_index": str(n % 25 + 1),
        "question_polarity": "neg" if negative else "nonneg",
        "context_condition": "ambig" if ambiguous else "disambig",
        "category": category,
        "answer_info": {
            "ans0": ["a", "grpA"],
            "ans1": ["b", "grpB"],
            "ans2": ["Unknown", "unknown"],
        },
        "additional_metadata": {"stereotyped_groups": ["grpA"]},
        "context": f"Two met at stop {n}: one from group A, one from group B.{more}",
        "question": "Who was late?" if negative else "Who was on time?",
        "ans0": "The one from group A",
        "ans1": "The one from group B",
        "ans2": "Unknown",
        "label": 2 if ambiguous else 1 if negative else 0,
    }


def _big_bench(file: Path, rng: random.Random) -> None:
    written = "auto_debugging" in file.parts  # its answers are written, not chosen
    examples = list(_examples(rng, written))
    metric = "exact_str_match" if written else "multiple_choice_grade"
    task = {"keywords": ["arithmetic"], "description": "own", "metrics": [metric]}
    file.write_text(json.dumps({**task, "examples": examples}), encoding="utf-8")


def _examples(rng: random.Random, written: bool) -> Iterator[dict[str, Any]]:
    for _ in range(60):  # 33 at least: 16 each for test and valid, the rest to train
        question, answers, right = _sum(rng)
        scores = {answer: int(at == right) for at, answer in enumerate(answers)}
        target = {"target": answers[right]} if written else {"target_scores": scores}
        yield {"input": question, **target}


def _math(file: Path, rng: random.Random) -> None:
    kinds = ["Number Theory", "Intermediate Algebra", "Algebra", "Prealgebra", "Geometry"]
    kinds += ["Counting & Probability", "Precalculus"]
    rows = []
    for kind in kinds:
        for level in ("Level 1", "Level 5"):
            for _ in range(10):  # eight are examples
                question, answers, right = _sum(rng)
                text = f"It is $\\boxed{{{answers[right]}}}$."
                rows.append({"problem": question, "level": level, "type": kind, "solution": text})
    _lines(file, rows)


def _summaries() -> dict[str, list[dict[str, str]]]:
    def article(n: int) -> str:  # 50 to 150 words, or it is no example
        line = "Town {} opened bridge number {} on a sunny day and many people came to see it."
        return " ".join(line.format(n, m) for m in range(5))

    return {
        split: [
            {"article": article(n), "highlights": f"Town {n} opened new bridges.\nMany came."}
            for n in range(count)
        ]
        for split, count in (("train", 20), ("validation", 5), ("test", 20))
    }


def _dialect(file: Path, rng: random.Random) -> None:
    file.write_text(json.dumps({"with": ["wit"], "and": ["an"], "don't": ["dont"]}))


def _person_name(file: Path, rng: random.Random) -> None:
    line = "{},first_name,race,{}_american,gender,{}\n"
    file.write_text("".join(line.format(*name) for name in _NAMES))


_MAKERS = {
    "mmlu": _mmlu,
    "gsm": _gsm,
    "truthful_qa": _truthful_qa,
    "bbq": _bbq,
    "big_bench": _big_bench,
    "MATH": _math,
    "dialect": _dialect,
    "person_name": _person_name,
}
assert len(BBQ_SUBJECTS) * 100 > 1000  # HELM asks the last thousand, and learns from the rest
