"""What is told before an evaluation."""

import json
from pathlib import Path

from tests.tiny import make_run
from tools.evaluate.foreseen import foreseen
from tools.run.folder import Run

ENTRIES = ["oneday:max_eval_instances=50", "simple_mcqa", "gsm:max_eval_instances=200"]


def held_out(run: Run, **rows: int) -> Run:
    folder = run.output("data")
    folder.mkdir(parents=True)
    lines = [json.dumps({"skill": skill}) for skill, count in rows.items() for _ in range(count)]
    (folder / "test.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return run


def test_each_skill_has_as_many_questions_as_rows_were_held_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, eval__tiers={"tier": ENTRIES}, eval__max_instances=10)
    head, skills, others = foreseen(held_out(run, boxes=80, places=20)).splitlines()
    assert head == "eval: before it is asked (80% power, 3 of 10 questions change hands):"
    assert skills.startswith("  trained skills: at most 70 questions, 2 run specs: differences of ")
    assert others.startswith("  HELM's scenarios: at most 210 questions, 2 run specs: differ")


def test_few_questions_show_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, eval__tiers={"tier": ENTRIES[:1]})
    _, skills = foreseen(held_out(run, boxes=3)).splitlines()
    assert skills == (
        "  trained skills: at most 3 questions, a run spec: too few questions to tell any "
        "difference from noise"
    )


def test_nothing_held_out_is_no_line(tmp_path: Path) -> None:
    run = make_run(tmp_path, eval__tiers={"tier": ENTRIES[:1]})
    assert len(foreseen(held_out(run)).splitlines()) == 1
