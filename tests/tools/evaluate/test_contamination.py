"""Contamination: the statement about a run's questions, from HELM's files and the run's rows."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_run, maker
from tools.data.prepare import prepare
from tools.errors import UserError
from tools.evaluate.contamination import FILE, contamination, render
from tools.files import read_json
from tools.run.folder import Run

SKILLS = {"boxes": 140, "counting": 280, "places": 180, "syllogism": 140}  # as recipes/data
LONG = "Which of these four towns had more than a thousand inhabitants before the great fire?"
SHORT = "What is 3 + 4?"


def instance(text: str, *references: str, right: int = 0, **fields: Any) -> dict[str, Any]:
    """An instance as scenario_state.json has it; ``right`` is the index of the right reference."""
    made = [
        {"output": {"text": reference}, "tags": ["correct"] if index == right else []}
        for index, reference in enumerate(references)
    ]
    return {"input": {"text": text}, "references": made, "split": "test", "id": text, **fields}


def row(*turns: str) -> dict[str, Any]:
    """A training row of prompts and completions in turn."""
    segments = [{"label": bool(at % 2), "text": text} for at, text in enumerate(turns)]
    return {"skill": "any", "segments": segments}


def evaluated(run: Run, who: str, **suite: list[dict[str, Any]]) -> None:
    """An evaluation whose run specs asked these instances; ``__`` stands for a colon."""
    with run.produce(f"eval_{who}") as work:
        for name, instances in suite.items():
            spec = name.replace("__", ":") + (",model=x" if "__" in name else ":model=x")
            folder = work.folder / "benchmark_output" / "runs" / "oneday" / spec
            folder.mkdir(parents=True)
            states = [{"instance": one, "request": {"prompt": "…"}} for one in instances]
            text = json.dumps({"adapter_spec": {}, "request_states": states})
            (folder / "scenario_state.json").write_text(text, encoding="utf-8")


def trained(run: Run, *rows: dict[str, Any], validation: tuple[dict[str, Any], ...] = ()) -> None:
    with run.produce("data") as work:
        for name, made in (("train", rows), ("validation", validation)):
            text = "".join(json.dumps(one) + "\n" for one in made)
            (work.folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path)


def test_the_statement(run: Run) -> None:
    trained(
        run,
        row("Question: nothing\nAnswer:", " a"),
        row(f"Question: {LONG.upper()}\nA. Ulm\nB. Rom\nAnswer:", " B"),
        validation=(row("Q: what is 3 + 4 A:", " 8"),),
    )
    mmlu = [instance(LONG, "Ulm", "Rom", right=1), instance("Which town is it?", "a", "b")]
    evaluated(run, "tuned", mmlu__subject=mmlu, gsm=[instance(SHORT, "7.")], plain=[])
    result = contamination(run)
    assert read_json(run.path / FILE) == result
    assert (result["rows"], result["validation_rows"]) == (2, 1)
    assert list(result["scenarios"]) == ["gsm", "mmlu"]
    assert result["scenarios"]["mmlu"] == {
        "instances": 2,
        "contaminated": 1,
        "answered": 1,
        "share": 0.5,
        "partial": 0,
        "examples": [
            {
                "question": LONG,
                "file": "train.jsonl",
                "row": 2,
                "share": 1.0,
                "why": "the whole question, with the right answer",
            }
        ],
        "run_specs": {
            "mmlu:subject": {
                "instances": 2,
                "contaminated": 1,
                "answered": 1,
                "share": 0.5,
                "partial": 0,
            }
        },
    }
    gsm = result["scenarios"]["gsm"]
    assert (gsm["contaminated"], gsm["answered"], gsm["share"]) == (1, 0, 1.0)
    assert gsm["examples"][0]["file"] == "validation.jsonl"
    lines = render(result).splitlines()
    assert lines[0] == "contamination: HELM's questions against 2 training and 1 validation rows"
    assert lines[1:] == [
        "  gsm   1 of 1 found in training rows",
        "  mmlu  1 of 2 found in training rows, 1 with the right answer",
    ]


def test_run_specs_of_a_scenario_are_counted_together_and_apart(run: Run) -> None:
    trained(run, row(LONG, " a"))
    evaluated(
        run,
        "base",
        mmlu__subject_law=[instance(LONG, "a"), instance("b", "b")],
        mmlu__subject_art=[instance("c", "c")],
    )
    mmlu = contamination(run)["scenarios"]["mmlu"]
    counts = {name: (c["instances"], c["contaminated"]) for name, c in mmlu["run_specs"].items()}
    assert counts == {"mmlu:subject_art": (1, 0), "mmlu:subject_law": (2, 1)}
    assert (mmlu["instances"], mmlu["contaminated"], len(mmlu["examples"])) == (3, 1, 1)


def test_a_question_counts_once_a_run_spec(run: Run) -> None:
    """Base and tuned are asked the same; HELM asks altered copies, and one choice at a time."""
    trained(run, row("Question: other\nAnswer:", " a"), row(LONG, " a"))
    altered = instance(LONG.replace("e", "3"), "a", perturbation={"name": "typos"}, id=LONG)
    asked = [altered, instance(LONG, "a"), instance(LONG, "a"), instance("other", "a")]
    evaluated(run, "base", ethics=asked)
    evaluated(run, "tuned", ethics=asked)
    result = contamination(run)
    ethics = result["scenarios"]["ethics"]
    assert (ethics["instances"], ethics["contaminated"], ethics["answered"]) == (2, 2, 2)
    assert [example["row"] for example in ethics["examples"]] == [1, 2]


def test_no_more_than_three_examples_of_bounded_length_the_clearest_first(run: Run) -> None:
    def numbered(first: int, count: int) -> str:
        return " ".join(f"word{number}" for number in range(first, first + count))

    firsts = [0, 1000, 2000, 3000]
    trained(run, *[row(numbered(first, 14 + first // 100), " a") for first in firsts])
    evaluated(run, "base", gsm=[instance(numbered(first, 44), "a") for first in firsts])
    gsm = contamination(run)["scenarios"]["gsm"]
    assert (gsm["contaminated"], gsm["partial"]) == (1, 3)
    assert [example["row"] for example in gsm["examples"]] == [4, 3, 2]
    assert all(len(example["question"]) == 200 for example in gsm["examples"])
    text = render({"rows": 4, "validation_rows": 0, "scenarios": {"gsm": gsm}})
    assert "gsm  1 of 4 found in training rows, 1 with the right answer; 3 share 13 words" in text


@pytest.mark.parametrize(
    ("references", "completion", "right"),
    [
        (("Rom", "Ulm"), " A", True),
        (("Rom", "Ulm"), " B", False),
        (("Rom", "Ulm"), " rom.", True),
        (("the old town", "Ulm"), " It was The Old Town, I think", True),
        (("a", "b"), " a long story", False),
        (("7.",), " 3 + 4 = 7. The answer is 7.", True),
        (("7.",), " 7 and 1 make 8.", False),
        (("",), " ", False),
    ],
)
def test_whether_the_right_answer_is_taught(
    run: Run, references: tuple[str, ...], completion: str, right: bool
) -> None:
    before = ("Question: quite another one\nAnswer:", " other")
    trained(run, row(*before, f"\n\nQuestion: {LONG}\nAnswer:", completion))
    evaluated(run, "base", gsm=[instance(LONG, *references)])
    gsm = contamination(run)["scenarios"]["gsm"]
    assert (gsm["contaminated"], gsm["answered"]) == (1, int(right))


def test_a_row_that_teaches_nothing(run: Run) -> None:
    trained(run, row(LONG))
    evaluated(run, "base", gsm=[instance(LONG, "a")])
    gsm = contamination(run)["scenarios"]["gsm"]
    assert (gsm["contaminated"], gsm["answered"]) == (1, 0)


def held_out(run: Run) -> list[dict[str, Any]]:
    text = (run.output("data") / "test.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_our_own_skills_are_clean_though_their_rows_are_of_one_template(tmp_path: Path) -> None:
    sources = {name: maker(name, rows) for name, rows in SKILLS.items()}
    run = make_run(tmp_path, data__sources=sources, data__test_rows=200, data__validation_rows=40)
    prepare(run)
    asked = [instance(one["input"], one["output"], id=one["id"]) for one in held_out(run)]
    evaluated(run, "base", oneday=asked)
    clean = contamination(run)["scenarios"]["oneday"]
    assert (clean["instances"], clean["contaminated"]) == (200, 0)
    assert clean["partial"] > 0  # places: two of its four boxes are often those of a row

    leaked = [one["input"]["text"] for one in asked[::40]]
    path = run.output("data") / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    trained(run, *rows, *[row(f"Question: {text}\nAnswer:", " x") for text in leaked])
    assert contamination(run)["scenarios"]["oneday"]["contaminated"] == len(leaked) == 5


def test_is_made_again_when_rows_or_questions_change(run: Run) -> None:
    trained(run, row(LONG, " a"))
    evaluated(run, "base", gsm=[instance(LONG, "a")])
    first = contamination(run)
    stamp = (run.path / FILE).stat().st_mtime_ns
    assert contamination(run) == first
    assert (run.path / FILE).stat().st_mtime_ns == stamp
    trained(run, row("none\n", " a"))
    assert contamination(run)["scenarios"]["gsm"]["contaminated"] == 0
    evaluated(run, "tuned", gsm=[instance(LONG, "a"), instance("none", "a", id="2")])
    assert contamination(run)["scenarios"]["gsm"]["contaminated"] == 1


def test_a_failed_run_spec_is_passed_over(run: Run) -> None:
    trained(run, row(LONG, " a"))
    evaluated(run, "base", gsm=[instance(LONG, "a")], mmlu__a=[])
    folder = run.output("eval_base") / "benchmark_output" / "runs" / "oneday"
    (folder / "mmlu:a,model=x" / "scenario_state.json").write_text("{", encoding="utf-8")
    assert list(contamination(run)["scenarios"]) == ["gsm"]


def test_an_instance_without_a_text(run: Run) -> None:
    trained(run, row("", " a"))
    evaluated(run, "base", gsm=[{"input": {}, "references": [], "id": "1"}])
    assert contamination(run)["scenarios"]["gsm"]["contaminated"] == 0


def test_no_rows(run: Run) -> None:
    with pytest.raises(UserError, match="no training rows to compare with; make them with: make d"):
        contamination(run)


def test_no_evaluation(run: Run) -> None:
    trained(run, row(LONG, " a"))
    with pytest.raises(UserError, match="nothing evaluated yet; evaluate with: make eval"):
        contamination(run)


def test_rows_of_another_recipe(run: Run, tmp_path: Path) -> None:
    trained(run, row(LONG, " a"))
    evaluated(run, "base", gsm=[instance(LONG, "a")])
    shutil.rmtree(run.output("data"))
    trained(make_run(tmp_path, data__seed=5), row(LONG, " a"))
    with pytest.raises(UserError, match=r"eval/base: scored beside other rows than .*make eval"):
        contamination(run)
