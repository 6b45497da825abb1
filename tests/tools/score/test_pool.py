"""Published results, suites and run folders as one pool."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.tools.score.helm_suite import original, write_run
from tools.errors import UserError
from tools.files import read_json, write_json
from tools.run.folder import RECORD
from tools.score.pool import own, read

SUITE = "benchmark_output/runs/oneday"


def published(path: Path, *entries: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"source": "x", "track": "4090", "entries": list(entries)}))
    return path


def entry(name: str, **metrics: Any) -> dict[str, Any]:
    return {"entry": name, "metrics": metrics or {"MMLU - EM": 0.5}}


def make_run(root: Path, name: str, time: int = 0, **scores: float) -> Path:
    """A run folder with an evaluation of base, tuned or both, each of one question."""
    for who, score in scores.items():
        suite = root / name / "eval" / who / SUITE
        folder = write_run(suite, "gsm", original(score), "exact_match_indicator")
        os.utime(folder, (time, time))
    return root / name


def evaluate(root: Path, score: float, finished: str, questions: int) -> Path:
    """Evaluate the tuned model of run ``tiny`` as make eval does; the folder, while it is there."""
    run = tiny.make_run(root, eval__max_instances=questions)
    with run.produce("eval_tuned", resume=True) as work:
        write_run(work.folder / SUITE, "gsm", original(score), "exact_match_indicator")
    record = run.output("eval_tuned") / RECORD
    write_json(record, read_json(record) | {"finished": finished})
    return run.output("eval_tuned")


def faults(*paths: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        read(paths)
    return caught.value.faults


def test_any_number_of_each_kind(tmp_path: Path) -> None:
    file = published(tmp_path / "a.json", entry("one"), entry("two"))
    suite = tmp_path / "benchmark_output" / "runs" / "c600"
    write_run(suite, "gsm", original(1), "exact_match_indicator")
    run = make_run(tmp_path / "runs", "cpu", base=0.0, tuned=1.0)
    found = read([file, suite, run])
    assert [one.name for one in found] == ["one", "two", "c600", "cpu base", "cpu tuned"]
    assert [one.own for one in found] == [False, False, True, True, True]
    assert [one.metrics for one in found[2:]] == [
        {"GSM8K - EM": 1.0},
        {"GSM8K - EM": 0.0},
        {"GSM8K - EM": 1.0},
    ]


@pytest.mark.parametrize("below", ["", "benchmark_output", "benchmark_output/runs"])
def test_a_folder_of_suites_is_all_of_them(tmp_path: Path, below: str) -> None:
    for suite in ("a", "b"):
        write_run(tmp_path / "benchmark_output" / "runs" / suite, "bbq:subject=all", original(1))
    assert [one.name for one in read([tmp_path / below])] == ["a", "b"]


def test_a_suite_of_several_models_is_an_entry_each(tmp_path: Path) -> None:
    suite = tmp_path / "three"
    for model in ("neurips/local", "own/model-a"):
        write_run(suite, "corr2cause", original(1), model=model)
    assert sorted(one.name for one in read([suite])) == ["own_model-a", "three"]


def test_own_runs_are_in_the_order_of_their_evaluation(tmp_path: Path) -> None:
    make_run(tmp_path, "today", 200, base=0.0, tuned=1.0)
    make_run(tmp_path, "yesterday", 100, tuned=0.5)
    (tmp_path / "unfinished" / "eval" / ".tuned.partial").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    assert [one.name for one in own(tmp_path)] == ["yesterday tuned", "today base", "today tuned"]
    assert [one.name for one in read([tmp_path])] == [one.name for one in own(tmp_path)]


def test_what_the_same_run_had_yesterday_is_kept_apart(tmp_path: Path) -> None:
    evaluate(tmp_path, 0.0, "2026-11-25T14:03:59+00:00", 4)
    evaluate(tmp_path, 0.5, "2026-11-25T18:30:00+00:00", 5)
    evaluate(tmp_path, 1.0, "2026-11-26T06:00:00+00:00", 6)
    found = own(tmp_path)
    assert [one.name for one in found] == [
        "tiny tuned 2026-11-25 14:03",
        "tiny tuned 2026-11-25 18:30",
        "tiny tuned",
    ]
    assert [one.metrics["GSM8K - EM"] for one in found] == [0.0, 0.5, 1.0]
    assert found[1].when - found[0].when == 4 * 3600 + 26 * 60 + 1
    assert [one.name for one in read([tmp_path / "tiny"])] == [one.name for one in found]


@pytest.mark.parametrize("lost", ["stats.json", RECORD])
def test_what_is_not_whole_is_no_evaluation(tmp_path: Path, lost: str) -> None:
    evaluate(tmp_path, 0.0, "2026-11-25T14:03:59+00:00", 4)
    evaluate(tmp_path, 1.0, "2026-11-26T06:00:00+00:00", 5)
    (kept,) = (tmp_path / "tiny" / "eval").glob(".tuned.*.partial")
    next(kept.rglob(lost)).unlink()
    assert [one.name for one in own(tmp_path)] == ["tiny tuned"]


@pytest.mark.parametrize(
    "text", ["1", "{", '{"stage": "eval_tuned"}', '{"stage": "eval_tuned", "finished": "x"}']
)
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    kept = evaluate(tmp_path, 0.0, "2026-11-25T14:03:59+00:00", 4)
    (kept / RECORD).write_text(text)
    kept.rename(kept.with_name(".tuned.0123456789ab.partial"))
    folder = evaluate(tmp_path, 1.0, "2026-11-26T06:00:00+00:00", 5)
    (folder / RECORD).write_text(text)
    (entry,) = own(tmp_path)
    assert entry.name == "tiny tuned" and entry.when > 0


def test_a_link_adds_nothing(tmp_path: Path) -> None:
    """As ``latest``, a link to a suite, or another name for a run."""
    suites = tmp_path / "benchmark_output" / "runs"
    write_run(suites / "oneday", "corr2cause", original(1))
    (suites / "latest").symlink_to("oneday")
    assert [one.name for one in read([tmp_path])] == ["oneday"]
    run = make_run(tmp_path / "runs", "cpu", tuned=1.0)
    (run.with_name("best")).symlink_to("cpu")
    (run / "eval" / "tuned" / SUITE).with_name("latest").symlink_to("oneday")
    (entry,) = own(tmp_path / "runs")
    assert entry.name == "cpu tuned" and len(entry.specs) == 1


@pytest.mark.parametrize("root", ["", "absent"])
def test_nothing_evaluated(tmp_path: Path, root: str) -> None:
    with pytest.raises(UserError, match=r"nothing evaluated.*make eval.*POOL="):
        own(tmp_path / root)


def test_shared_names_are_told_apart(tmp_path: Path) -> None:
    files = [
        published(tmp_path / "x" / "a.json", entry("same"), entry("same"), entry("other")),
        published(tmp_path / "x" / "b.json", entry("same")),
        published(tmp_path / "y" / "b.json", entry("same")),
    ]
    a, *bs = map(str, files)
    names = [one.name for one in read(files)]
    assert names == [
        f"same ({a})",
        f"same ({a}) #2",
        "other",
        f"same ({bs[0]})",
        f"same ({bs[1]})",
    ]


def test_a_name_shared_by_two_files_gets_the_files_name(tmp_path: Path) -> None:
    files = [published(tmp_path / f"{name}.json", entry("same")) for name in "ab"]
    assert [one.name for one in read(files)] == ["same (a.json)", "same (b.json)"]


def test_a_path_given_twice_counts_once(tmp_path: Path) -> None:
    file = published(tmp_path / "a.json", entry("one"))
    assert len(read([file, tmp_path / "." / "a.json"])) == 1


def test_claims_are_kept(tmp_path: Path) -> None:
    one = entry("one") | {"score": {"open": 0.5, "hidden": None, "full": 0.1}}
    two = entry("two") | {"score": "good"}
    found = read([published(tmp_path / "a.json", one, two)])
    assert [row.claimed for row in found] == [{"open": 0.5, "full": 0.1}, None]


def test_columns_are_spelt_as_on_the_board(tmp_path: Path) -> None:
    file = published(tmp_path / "a.json", entry("one", **{"big bench - em": 1, "x - y": None}))
    assert read([file])[0].metrics == {"BIG-bench - EM": 1, "x - y": None}


def test_all_faults_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.json").write_text("{,")
    (tmp_path / "results.json").write_text('{"entries": []}')
    bad = published(
        tmp_path / "bad.json",
        entry("one", **{"MMLU - EM": "0.5", "BBQ - EM": True, "GSM8K - EM": 0.1}),
        entry("two", **{"MMLU - EM": -float("inf"), "BBQ - EM": float("inf"), "x": 10**400}),
        entry("three", **{"MMLU - EM": 0.1, "mmlu - em": 0.2}),
        {"entry": "four"},
        {"metrics": {}},
        {"entry": "six", "metrics": None},
        {"entry": " ", "metrics": {"MMLU - EM": 1}},
    )
    found = faults(
        tmp_path / "empty",
        tmp_path / "text.json",
        tmp_path / "results.json",
        tmp_path / "result.json",
        bad,
    )
    expected = [
        "empty: holds no entries",
        "text.json: not JSON",
        "results.json: no entries",
        "result.json: no such file or folder; did you mean",
        '(one): MMLU - EM: must be a number or null, not "0.5"',
        "(one): BBQ - EM: must be a number or null, not true",
        "(two): MMLU - EM: must be a number or null, not -Infinity",
        "(two): BBQ - EM: must be a number or null, not Infinity",
        "(two): x: must be a number or null, not 1000",
        "(three): MMLU - EM twice; keep one",
        "entry 4: needs entry",
        "entry 5: needs entry",
        "entry 6: needs entry",
        "entry 7: needs entry",
    ]
    assert len(found) == len(expected)
    for fault, part in zip(found, expected, strict=True):
        assert part in fault


@pytest.mark.parametrize("text", ["[]", "1", "null", '{"entries": {}}', '{"entries": "a"}', '"x"'])
def test_other_json_is_a_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert "no entries" in faults(tmp_path / "a.json")[0]


@pytest.mark.parametrize("row", ["1", "null", "[]", '"x"', '{"entry": 1, "metrics": {"a": 1}}'])
def test_an_entry_of_another_shape_is_a_fault(tmp_path: Path, row: str) -> None:
    (tmp_path / "a.json").write_text('{"entries": [' + row + "]}")
    assert "entry 1: needs entry" in faults(tmp_path / "a.json")[0]


def test_bytes_that_are_no_text_and_endless_nesting(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "b.json").write_text("[" * 100_000)
    found = faults(tmp_path / "a.json", tmp_path / "b.json")
    assert ["not JSON" in fault for fault in found] == [True, True]


def test_a_damaged_run_is_a_fault(tmp_path: Path) -> None:
    run = make_run(tmp_path, "cpu", base=0.0, tuned=1.0)
    for stats in run.rglob("stats.json"):
        stats.write_text("{")
    assert len(faults(run)) == 2
    with pytest.raises(UserError):
        own(tmp_path)


def test_what_others_of_a_published_file_have_is_missing(tmp_path: Path) -> None:
    one = published(tmp_path / "a.json", entry("x", **{"BBQ - EM": 0.1}), entry("y"))
    two = published(tmp_path / "b.json", entry("z"))
    assert [row.metrics for row in read([one, two])] == [
        {"BBQ - EM": 0.1, "MMLU - EM": None},
        {"BBQ - EM": None, "MMLU - EM": 0.5},
        {"MMLU - EM": 0.5},
    ]


def test_who_has_no_metrics_misses_those_of_the_others(tmp_path: Path) -> None:
    lost: dict[str, Any] = {"entry": "lost", "metrics": {}}
    file = published(tmp_path / "a.json", entry("x"), lost)
    assert [row.metrics for row in read([file])] == [{"MMLU - EM": 0.5}, {"MMLU - EM": None}]
    alone = published(tmp_path / "b.json", lost)
    assert [fault.split(";")[0] for fault in faults(alone)] == [f"{alone}: no entry has metrics"]


def test_not_a_number_is_null(tmp_path: Path) -> None:
    one = entry("x", **{"MMLU - EM": float("nan")}) | {"score": {"open": float("nan"), "full": 1}}
    (found,) = read([published(tmp_path / "a.json", one)])
    assert found.metrics == {"MMLU - EM": None} and found.claimed == {"full": 1}
