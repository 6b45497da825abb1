"""The closing table: two models beside each other, and when they differ by more than noise."""

import json
from pathlib import Path

import pytest

from tests.tiny import make_run
from tests.tools.score.helm_suite import original, write_run
from tools.errors import UserError
from tools.evaluate.stage import WHO
from tools.evaluate.table import table
from tools.run.folder import Run
from tools.score.difference import HOW

SUITE = "benchmark_output/runs/oneday"


def write_scores(run: Run, who: str, **values: float) -> None:
    folder = run.output(f"eval_{who}")
    folder.mkdir(parents=True)
    scores = {
        name: {"metric": "exact_match", "value": value, "instances": 100, "split": "test"}
        for name, value in values.items()
    }
    (folder / "scores.json").write_text(json.dumps(scores), encoding="utf-8")


def answer(run: Run, who: str, **right: int) -> None:
    """Scores, and HELM's files behind them: so many of a hundred are right, the first ones."""
    write_scores(run, who, **{name: count / 100 for name, count in right.items()})
    for name, count in right.items():
        answers = original(*[1.0] * count, *[0.0] * (100 - count))
        write_run(run.output(f"eval_{who}") / SUITE, name, answers)


def cells(run: Run) -> dict[str, list[str]]:
    """The rows of the table, by the run spec."""
    lines = table(run).partition("\n\n")[0].splitlines()
    return {line.split("  ")[0]: [c for c in line.split("  ")[1:] if c.strip()] for line in lines}


def stripped(row: list[str]) -> list[str]:
    return [cell.strip() for cell in row]


def test_a_difference_is_told_from_noise(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    answer(run, "base", a=50, b=50, c=50)
    answer(run, "tuned", a=53, b=70, c=30)
    found = cells(run)
    little, more, less = (stripped(found[name]) for name in "abc")
    assert little[:4] == ["exact_match", "0.500", "0.530", "+0.030"]
    assert little[4].startswith("+0.000 to ") and little[5:] == ["100", "not more than noise"]
    assert more[3] == "+0.200" and more[-1] == "better: more than noise"
    assert less[3] == "-0.200" and less[-1] == "worse: more than noise"
    mean = stripped(found["mean, HELM's scenarios"])
    assert mean[2] == "+0.010" and mean[-1] == "not more than noise"
    assert table(run).splitlines()[-2:] == list(HOW)


def test_without_the_questions_there_is_no_interval_and_no_verdict(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_scores(run, "base", a=0.1)
    write_scores(run, "tuned", a=0.9)
    assert stripped(cells(run)["a"]) == ["exact_match", "0.100", "0.900", "+0.800", "-", "100"]


def test_an_interval_of_other_questions_is_not_shown(tmp_path: Path) -> None:
    """HELM's file is of an older evaluation, say: its mean is not the figure beside it."""
    run = make_run(tmp_path)
    answer(run, "base", a=10)
    answer(run, "tuned", a=90)
    scores = run.output("eval_tuned") / "scores.json"
    scores.write_text(scores.read_text().replace("0.9", "0.8"))
    assert stripped(cells(run)["a"])[4:] == ["-", "100"]


def test_many_run_specs_are_shown_by_scenario(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    values = {f"mmlu:subject={at}": float(at % 2) for at in range(40)}
    for who in WHO:
        write_scores(run, who, **values, **{"ethics_virtue,data_augmentation=canonical": 0.25})
    lines = table(run).splitlines()
    assert "ethics_virtue, mean of 1 " in lines[1] and "mmlu, mean of 40 " in lines[2]
    assert lines[2].split()[5:10] == ["0.500", "0.500", "+0.000", "-", "4000"]
    assert len(lines) < 9


def test_one_model(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_scores(run, "base", a=0.5)
    assert stripped(cells(run)["a"]) == ["exact_match", "0.500", "-", "-", "-", "100"]


def test_without_scores(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make eval"):
        table(make_run(tmp_path))


def test_a_failure_of_both_models_is_named_once(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for who in WHO:
        write_scores(run, who, a=0.5)
        metrics = {"failed": {"b": "no data", "c": f"of {who}"}}
        now = run.fingerprint(f"eval_{who}")
        record = {"stage": f"eval_{who}", "fingerprint": now, "metrics": metrics}
        (run.output(f"eval_{who}") / "oneday.json").write_text(json.dumps(record))
    *_, both, base, tuned = table(run).splitlines()
    assert (both, base) == ("  base, tuned: b: no data", "  base: c: of base")
    assert tuned == "  tuned: c: of tuned"
