"""Whether the questions that HELM scored are in the rows that the model was trained on.

``tools.curate.overlap`` has the rules. The statement is ``eval/contamination.json`` in the run
folder; it is made again when the rows or the evaluations have changed.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.console import bar
from tools.curate.overlap import GRAM, METHOD, Finding, Overlap, Words, words
from tools.errors import UserError
from tools.files import digest, read_json, write_json
from tools.run.folder import Run

FILE = "eval/contamination.json"
ROWS = ("train", "validation")  # validation rows choose the checkpoint, so they count as seen
EVALUATIONS = ("eval_base", "eval_tuned")
EXAMPLES = 3
SHOWN = 200  # characters of a question


@dataclass(frozen=True)
class Asked:
    """A question of a run spec.

    Attributes:
        run_spec: its name without the model, which is always ours.
        text: the question, without in-context examples and instructions.
        answers: the words of each right answer, and the letter of it where there is a choice.
    """

    run_spec: str
    text: str
    answers: tuple[Words, ...]

    @property
    def scenario(self) -> str:
        """The group that the run spec counts to."""
        return re.split("[:,]", self.run_spec, maxsplit=1)[0]  # corr2cause,max_train_instances=1


@dataclass(frozen=True)
class Hit:
    """A question that shares something with a row.

    Attributes:
        asked: the question.
        finding: how much.
        file: the row's file in ``data/``.
        line: the row's line there, from 1.
        answered: the row teaches the right answer, too.
    """

    asked: Asked
    finding: Finding
    file: str
    line: int
    answered: bool


def contamination(run: Run) -> dict[str, Any]:
    """Make ``eval/contamination.json``, unless what it was made from is still the same.

    Args:
        run: its data stage and an evaluation must be done.

    Returns:
        ``method`` (text), ``rows`` and ``validation_rows`` (how many were looked through),
        ``inputs`` (digests) and ``scenarios``: by name, how many ``instances`` there are, how many
        are ``contaminated`` and how many of these ``answered`` in the same row, their ``share``,
        how many share a gram only (``partial``), up to three ``examples`` with ``question``,
        ``file``, ``row`` (line, from 1), ``share`` and ``why``, and the counts by ``run_specs``.

    Raises:
        UserError: there are no rows or no evaluation, or they do not belong together.
    """
    inputs, path = _inputs(run), run.path / FILE
    known = read_json(path)
    # METHOD names all thresholds: with others the statement is another one.
    if isinstance(known, dict) and (known.get("inputs"), known.get("method")) == (inputs, METHOD):
        return known
    asked = list(_asked(run))
    overlap, counts = _scan(run, {one.text for one in asked})
    hits = list(_hits(run, asked, overlap))
    names = sorted({one.scenario for one in asked})
    result = {
        "method": METHOD,
        "rows": counts["train"],
        "validation_rows": counts["validation"],
        "inputs": inputs,
        "scenarios": {name: _scenario(name, asked, hits) for name in names},
    }
    write_json(path, result)
    return result


def render(result: dict[str, Any]) -> str:
    """The statement as plain text, a line a scenario.

    Args:
        result: what ``contamination`` returned.
    """
    lines = [
        f"contamination: HELM's questions against {result['rows']:,} training and "
        f"{result['validation_rows']:,} validation rows"
    ]
    width = max(map(len, result["scenarios"]), default=0)
    for name, entry in result["scenarios"].items():
        lines.append(f"  {name.ljust(width)}  {_verdict(entry)}")
    return "\n".join(lines)


def _verdict(entry: dict[str, Any]) -> str:
    total, found, partial = entry["instances"], entry["contaminated"], entry["partial"]
    text = f"{found} of {total} found in training rows" if found else f"clean, {total} questions"
    if entry["answered"]:
        text += f", {entry['answered']} with the right answer"
    if partial:
        text += f"; {partial} share {GRAM} words with a row"
    return text


def _inputs(run: Run) -> dict[str, str]:
    """The content of what the statement is made from, by stage.

    Raises:
        UserError: something is missing, or rows and evaluation do not belong together.
    """
    records = {name: run.record(name) for name in ("data", *EVALUATIONS)}
    found = {name: record for name, record in records.items() if record}
    if "data" not in found:
        raise UserError(f"{run.path}: no training rows to compare with; make them with: make data")
    if len(found) == 1:
        raise UserError(f"{run.path}: nothing evaluated yet; evaluate with: make eval")
    faults = [
        f"{run.output(name)}: scored beside other rows than {run.output('data')} holds now; renew "
        "it with: make eval"
        for name, record in found.items()
        if name != "data" and record["inputs"]["upstream"]["data"] != found["data"]["fingerprint"]
    ]
    if faults:
        raise UserError(faults)
    return {name: digest(record["outputs"]) for name, record in found.items()}


def _asked(run: Run) -> Iterator[Asked]:
    """Every question of every run spec once, also when base and tuned were both asked."""
    seen: set[tuple[str, str]] = set()
    for name in EVALUATIONS:
        runs = run.output(name) / "benchmark_output" / "runs"
        for path in sorted(runs.glob("*/*/scenario_state.json")):
            run_spec = re.sub(r"[:,]model=[^,]*", "", path.parent.name)
            for state in (read_json(path) or {}).get("request_states", []):
                instance = state["instance"]
                key = (run_spec, str(instance.get("id") or instance["input"].get("text")))
                if key not in seen and _is_original(instance):
                    seen.add(key)
                    yield _question(run_spec, instance)


def _is_original(instance: dict[str, Any]) -> bool:
    """Whether this is the scenario's own question, not a misspelt or renamed copy of HELM's."""
    return (instance.get("perturbation") or {}).get("name", "identity") == "identity"


def _question(run_spec: str, instance: dict[str, Any]) -> Asked:
    references, answers = instance.get("references", []), []
    for index, reference in enumerate(references):
        if "correct" in reference.get("tags", []):
            answers.append(words(reference["output"].get("text") or ""))
            if len(references) > 1:
                answers.append((chr(ord("a") + index),))  # in lower case, as words() has it
    known = tuple(answer for answer in answers if answer)
    return Asked(run_spec, instance["input"].get("text") or "", known)


def _scan(run: Run, questions: set[str]) -> tuple[Overlap, Counter[str]]:
    """Look all rows through, and count them by file."""
    overlap, counts = Overlap(questions), Counter[str]()
    total = sum(path.stat().st_size for path in _files(run).values())
    with bar(total, "contamination", "B") as progress:
        progress.unit_scale = True
        for number, (name, _, raw) in enumerate(_rows(run)):
            segments = json.loads(raw)["segments"]
            overlap.scan(number, "".join(segment["text"] for segment in segments))
            counts[name] += 1
            progress.update(len(raw))
    return overlap, counts


def _files(run: Run) -> dict[str, Path]:
    return {name: run.output("data") / f"{name}.jsonl" for name in ROWS}


def _rows(run: Run) -> Iterator[tuple[str, int, bytes]]:
    """Each row as it is in its file: the file's name, the line from 1, the JSON."""
    for name, path in _files(run).items():
        with path.open("rb") as file:
            for line, raw in enumerate(file, 1):
                yield name, line, raw


def _hits(run: Run, asked: Iterable[Asked], overlap: Overlap) -> Iterator[Hit]:
    """The questions that share something, in the order of the rows, which are read once more."""
    wanted: dict[int, list[tuple[Asked, Finding]]] = defaultdict(list)
    for one in asked:
        if finding := overlap.finding(one.text):
            wanted[finding.row].append((one, finding))
    for number, (name, line, raw) in enumerate(_rows(run)):
        for one, finding in wanted.get(number, ()):
            answered = _teaches(json.loads(raw)["segments"], one)
            yield Hit(one, finding, f"{name}.jsonl", line, answered)


def _teaches(segments: list[dict[str, Any]], asked: Asked) -> bool:
    """Whether the answer that a row teaches after the question is a right one.

    A row may hold several questions: the one that has most words of ours is taken for ours.
    """
    before = ""
    pairs: list[tuple[set[str], Words]] = []
    for segment in segments:
        if segment["label"]:
            pairs.append((set(words(before)), words(segment["text"])))
            before = ""
        else:
            before += segment["text"]
    ours = set(words(asked.text))
    _, learnt = max(pairs, key=lambda pair: len(ours & pair[0]), default=(set(), ()))
    return any(_holds(learnt, answer) for answer in asked.answers)


def _holds(learnt: Words, answer: Words) -> bool:
    """Whether an answer is in a completion; one word must be all of it, a number the last word."""
    if len(answer) == 1:
        return answer in (learnt, learnt[-1:] if answer[0].isdigit() else learnt)
    return any(
        learnt[at : at + len(answer)] == answer for at in range(len(learnt) - len(answer) + 1)
    )


def _scenario(name: str, asked: list[Asked], hits: list[Hit]) -> dict[str, Any]:
    """One scenario's part of the statement."""
    ours = [one for one in asked if one.scenario == name]
    found = [hit for hit in hits if hit.asked.scenario == name]
    run_specs = Counter(one.run_spec for one in ours)
    return {
        **_counts(len(ours), found),
        "examples": [_example(hit) for hit in _clearest(found)],
        "run_specs": {
            spec: _counts(count, [hit for hit in found if hit.asked.run_spec == spec])
            for spec, count in sorted(run_specs.items())
        },
    }


def _counts(instances: int, hits: list[Hit]) -> dict[str, Any]:
    found = [hit for hit in hits if hit.finding.contaminated]
    return {
        "instances": instances,
        "contaminated": len(found),
        "answered": sum(hit.answered for hit in found),
        "share": len(found) / instances,
        "partial": len(hits) - len(found),
    }


def _clearest(hits: list[Hit]) -> list[Hit]:
    """Some of the hits, those that share most; a question that several run specs ask once."""
    different = {hit.asked.text: hit for hit in hits}
    return sorted(different.values(), key=lambda hit: -hit.finding.share)[:EXAMPLES]


def _example(hit: Hit) -> dict[str, Any]:
    why = hit.finding.why + (", with the right answer" if hit.answered else "")
    return {
        "question": hit.asked.text[:SHOWN],
        "file": hit.file,
        "row": hit.line,
        "share": round(hit.finding.share, 3),
        "why": why,
    }
