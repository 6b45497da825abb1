"""One's own entries against one another."""

from pathlib import Path

from tests.tools.score.helm_suite import original, write_run
from tools.score import suites
from tools.score.against import Against, against, as_json, render
from tools.score.difference import HOW
from tools.score.pool import Entry


def entry(folder: Path, name: str) -> Entry:
    specs, _ = suites.read(folder)
    return Entry(name, suites.columns(specs), folder, tuple(specs))


def suite(folder: Path, right: int, failed: str = "") -> Path:
    write_run(folder, "gsm", original(*[1] * right, *[0] * (40 - right)), "exact_match_indicator")
    if failed:
        (folder / f"{failed},model=neurips_local").mkdir()
    else:
        write_run(folder, "mmlu:subject=law", original(*[1] * right, *[0] * (20 - right)))
    return folder


def test_today_against_yesterday(tmp_path: Path) -> None:
    old, new, less = (
        entry(suite(tmp_path / name, right), name)
        for name, right in (("old", 4), ("new", 16), ("less", 14))
    )
    published = Entry("published", {"GSM8K - EM": 0.9}, tmp_path)
    found = against(new, [old, new, published, less])
    assert [one.name for one in found] == ["old", "less"]
    much, little = (one.difference for one in found)
    assert much.mean == (12 / 40 + 12 / 20) / 2 and much.questions == 60 and much.run_specs == 2
    assert much.verdict() == "better: more than noise"
    assert little.verdict() == "not more than noise", "four questions in all"
    lines = render("new", found).splitlines()
    assert lines[0].startswith("is new more than noise away from these")
    assert lines[2].split()[:4] == ["old", "2", "60", "+0.450"]
    assert lines[2].endswith("better: more than noise") and lines[-2:] == list(HOW)
    told = as_json(found)[0]
    assert told["entry"] == "old" and told["verdict"] == "better: more than noise"
    assert set(told) == {
        "entry", "mean", "interval", "questions", "changed", "run_specs", "verdict"
    }  # fmt: skip


def test_only_run_specs_that_both_were_scored_in(tmp_path: Path) -> None:
    new = entry(suite(tmp_path / "new", 16), "new")
    old = entry(suite(tmp_path / "old", 4, failed="mmlu:subject=law"), "old")
    (found,) = against(new, [old])
    assert (found.difference.run_specs, found.difference.questions) == (1, 40)


def test_nobody_else(tmp_path: Path) -> None:
    alone = entry(suite(tmp_path / "new", 16), "new")
    assert against(alone, [alone]) == [] and render("new", []) == ""
    nothing: list[Against] = []
    assert as_json(nothing) == []
