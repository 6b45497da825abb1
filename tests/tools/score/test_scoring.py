"""The score verb as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools.score.helm_suite import original, write_run
from tools.errors import UserError
from tools.score.ranking import STAGES, board
from tools.score.scoring import as_json, collect, render, score, what_if

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = ROOT.parent / "shared" / "golden" / "final_4090.json"
SUITE = "benchmark_output/runs/oneday"


def publish(path: Path, **values: float | None) -> Path:
    """Results in which each entry has one value in every column."""
    entries = [
        {"entry": name, "metrics": {one: value for one in board()}}
        for name, value in values.items()
    ]
    path.write_text(json.dumps({"source": "s", "track": "t", "entries": entries}))
    return path


def make_run(root: Path, name: str, who: str, right: int, wrong: int) -> Path:
    """A run that answered GSM8K and BBQ, and failed at one of two MMLU subjects."""
    suite = root / name / "eval" / who / SUITE
    answers = original(*[1.0] * right, *[0.0] * wrong)
    write_run(suite, "gsm", answers, "exact_match_indicator")
    write_run(suite, "bbq:subject=all", answers, "quasi_exact_match")
    write_run(suite, "mmlu:subject=anatomy", answers)
    (suite / "mmlu:subject=virology,model=neurips_local").mkdir()
    return root / name


def table(text: str, title: str) -> dict[str, list[str]]:
    """The rows of a table by their first cell."""
    block = next(part for part in text.split("\n\n") if part.startswith(title))
    cells = [line.split("  ") for line in block.splitlines()]
    return {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in cells}


def test_the_published_scores_come_out(tmp_path: Path) -> None:
    if not PUBLISHED.is_file():
        pytest.skip(f"no {PUBLISHED.name}: the published results are not beside this checkout")
    entries = json.loads(PUBLISHED.read_text(encoding="utf-8"))["entries"]
    ranking = score(collect([PUBLISHED], tmp_path))
    found = as_json(ranking)
    assert [set(row) for row in found] == [{"entry", "mean_win_rate", "score", "rank"}] * 8
    for row, entry in zip(found, entries, strict=True):
        assert row["entry"] == entry["entry"]
        assert row["mean_win_rate"] == pytest.approx(entry["mean_win_rate"], abs=1e-12)
        assert row["score"] == pytest.approx(entry["score"], abs=1e-12)
    assert [row["rank"]["full"] for row in found] == list(range(1, 9))
    text = render(ranking)
    assert table(text, "entry")["4090-1"][:2] == ["0.579", "1"]
    assert "the scores are the same as those published" in text
    assert "4090-2: no value, so last in: sam_sum - Stereotypes (race)" in text


def test_base_tuned_and_published_in_one_table(tmp_path: Path) -> None:
    file = publish(tmp_path / "pool.json", good=0.9, poor=0.1)
    run = make_run(tmp_path / "runs", "cpu", "base", 0, 20)
    make_run(tmp_path / "runs", "cpu", "tuned", 19, 1)
    ranking = score(collect([file, run], tmp_path))
    text = render(ranking)
    scores = table(text, "entry")
    assert list(scores)[1:] == ["good", "poor", "cpu tuned", "cpu base"]
    tuned = next(row for row in ranking.rows if row.entry.name == "cpu tuned")
    assert tuned.rates["BBQ"] == tuned.rates["GSM8K"] == tuned.rates["MMLU"] == 0.75
    assert tuned.rates["TruthfulQA"] == 0.125 and tuned.rates["ethics"] is None
    assert tuned.score["full"] is None and tuned.rank == {"open": 2, "hidden": None, "full": None}
    assert set(tuned.interval) == {"open"}
    assert "cpu base, cpu tuned: no figure of the hidden stage, so no final" in text
    assert "cpu tuned: left out, 1 run spec failed: mmlu:subject=virology" in text
    assert "own and published figures compare only where" in text


def test_run_specs_without_a_question_that_counts_are_named(tmp_path: Path) -> None:
    file = publish(tmp_path / "pool.json", good=0.9, poor=0.1)
    suite = tmp_path / "mine"
    write_run(suite, "gsm", original(1), "exact_match_indicator")
    write_run(suite, "big_bench:task=operators,subtask=", original(1), split="valid")
    notes = score(collect([file, suite], tmp_path), confidence=False).notes
    why = "1 run spec with no question of the split that counts"
    assert f"mine: left out, {why}: big_bench:task=operators,subtask=" in notes
    assert any(note.startswith("mine: no value, so last in: MMLU") for note in notes)


def test_what_if_is_ones_own_newest_unless_asked(tmp_path: Path) -> None:
    file = publish(tmp_path / "pool.json", good=0.9, poor=0.1)
    runs = tmp_path / "runs"
    for who, right in (("tuned", 10), ("base", 0)):
        make_run(runs, "cpu", who, right, 20 - right)
    ranking = score(collect([file, runs], tmp_path), confidence=False)
    mine, found = what_if(ranking)
    assert mine and mine.entry.name == "cpu tuned"
    assert {gain.score for gain in found} == {"open"}
    assert "what if cpu tuned (open " in render(ranking)
    told = table(render(ranking), "is cpu tuned more than noise away from these")
    assert told["cpu base"][:3] == ["3", "60", "+0.500"]
    assert told["cpu base"][-1] == "better: more than noise"
    (row,) = [row for row in as_json(ranking) if "against" in row]
    assert row["entry"] == "cpu tuned" and row["against"][0]["entry"] == "cpu base"
    theirs, found = what_if(ranking, "poor")
    assert theirs and theirs.entry.name == "poor" and {gain.score for gain in found} == {"full"}
    text = render(ranking, "poor")
    assert "more than noise" not in text, "of a published entry no answers are at hand"
    assert "what if poor (full " in text and "past the next" in text
    assert "while one of them is, its stage is next to 0" in text
    (row,) = [row for row in as_json(ranking, "poor") if "what_if" in row]
    assert row["entry"] == "poor" and len(row["what_if"]) == 9
    assert set(row["what_if"][0]) == {"scenario", "win_rate", "of", "next", "best"}
    with pytest.raises(UserError, match=r"ENTRY=por: nobody is called so; did you mean poor\?"):
        render(ranking, "por")


@pytest.mark.parametrize(
    ("column", "mine", "shown"),
    [
        ("GSM8K - EM", None, ["missing", "0.500", "0.500"]),
        ("GSM8K - EM", 0.0, ["0.000", "0.500", "0.500"]),
        ("sam_sum - Stereotypes (race)", None, ["missing", "0.500", "0.500"]),
        ("sam_sum - Stereotypes (race)", 2000.0, ["2000.000", "0.500", "0.500"]),
    ],
)
def test_what_is_missing_is_called_so(
    column: str, mine: float | None, shown: list[str], tmp_path: Path
) -> None:
    others = {"MMLU - EM": 0.5, "corr2cause - EM": 0.5}
    path = results(tmp_path / "a.json", {**others, column: mine}, {**others, column: 0.5})
    found = table(render(score(collect([path], tmp_path), confidence=False), "e0"), "what if")
    assert found[column.partition(" - ")[0]][-4:-1] == shown


def test_published_alone_has_no_what_if_of_its_own(tmp_path: Path) -> None:
    ranking = score(collect([publish(tmp_path / "a.json", good=0.9, poor=0.1)], tmp_path))
    assert what_if(ranking) == (None, [])
    assert "what if" not in render(ranking)


def test_own_runs_are_the_pool_without_files(tmp_path: Path) -> None:
    make_run(tmp_path, "yesterday", "tuned", 10, 10)
    make_run(tmp_path, "today", "tuned", 15, 5)
    ranking = score(collect([], tmp_path), confidence=False)
    assert [row.entry.name for row in ranking.best_first] == ["today tuned", "yesterday tuned"]
    assert ranking.best_first[0].rank["open"] == 1


def test_skills_of_ones_own_stand_apart(tmp_path: Path) -> None:
    for who, right in (("base", 1), ("tuned", 3)):
        suite = tmp_path / "cpu" / "eval" / who / SUITE
        answers = original(*[1.0] * right, *[0.0] * (4 - right))
        write_run(suite, "oneday:skill=boxes", answers)
    ranking = score(collect([], tmp_path))
    text = render(ranking)
    assert text.startswith("no score: nobody has a scenario of the open or hidden stage")
    assert table(text, "win rate, in no stage") == {
        "win rate, in no stage": ["oneday"],
        "cpu base": ["0.000"],
        "cpu tuned": ["0.500"],
    }
    assert [row["other"] for row in as_json(ranking)] == [{"oneday": 0.0}, {"oneday": 0.5}]
    assert all(value is None for row in as_json(ranking) for value in row["score"].values())


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"MMLU - ECE": 0.1}, "columns that count in nothing: MMLU - ECE; did you mean MMLU - EM?"),
        ({"what - ever": 0.1}, "columns that count in nothing: what - ever"),
    ],
)
def test_columns_left_out_are_named(tmp_path: Path, changes: dict[str, float], note: str) -> None:
    file = publish(tmp_path / "a.json", good=0.9, poor=0.1)
    tree = json.loads(file.read_text())
    tree["entries"][0]["metrics"] |= changes
    file.write_text(json.dumps(tree))
    assert f"note: {note}" in render(score(collect([file], tmp_path)))


def results(path: Path, *metrics: dict[str, float | None], **more: Any) -> Path:
    entries = [{"entry": f"e{n}", "metrics": one, **more} for n, one in enumerate(metrics)]
    path.write_text(json.dumps({"entries": entries}))
    return path


def notes(path: Path) -> list[str]:
    return score(collect([path], path.parent)).notes


def test_stages_and_scenarios_nobody_has_are_named(tmp_path: Path) -> None:
    path = results(tmp_path / "a.json", {"MMLU - EM": 0.1}, {"MMLU - EM": 0.2})
    assert notes(path) == [
        "open: the mean of 1 scenarios; nobody has TruthfulQA, BIG-bench, GSM8K, BBQ",
        "hidden: nobody has a figure, so there is no hidden score and no final",
    ]


def test_one_alone_is_told_so(tmp_path: Path) -> None:
    path = results(tmp_path / "a.json", {one: 0.5 for one in board()})
    assert notes(path) == [
        'one entry beats nobody, so its win rates are 0; add others: make score POOL="a b"'
    ]


def test_a_published_score_that_does_not_come_out_is_told(tmp_path: Path) -> None:
    metrics: dict[str, float | None] = {one: 0.5 for one in board()}
    path = results(tmp_path / "a.json", metrics, metrics, score={"open": 0.3})
    (note,) = notes(path)
    assert note.startswith("the scores are NOT the same as those published") and "5e-02" in note


def test_nothing_to_remark_on(tmp_path: Path) -> None:
    assert notes(publish(tmp_path / "a.json", good=0.9, poor=0.1)) == []


def test_json_holds_every_scenario_for_everyone(tmp_path: Path) -> None:
    paths = [
        results(tmp_path / "a.json", {one: 0.5 for one in board()}),
        results(tmp_path / "b.json", {"MMLU - EM": 0.1}),
    ]
    found = as_json(score(collect(paths, tmp_path)))
    scenarios = [one for stage in STAGES.values() for one in stage]
    assert [list(row["mean_win_rate"]) for row in found] == [scenarios, scenarios]
    assert found[1]["mean_win_rate"]["ethics"] is None
    assert found[1]["score"]["hidden"] is None and found[1]["score"]["full"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_it_is_imported_at_once() -> None:
    """Nothing that takes long comes along: no numpy, no torch."""
    code = "import sys, tools.score.scoring; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"numpy", "torch", "omegaconf", "jsonschema"} & set(done.stdout.split())
