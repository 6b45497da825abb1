"""Intervals over resampled instances."""

import json
import random
import time
from pathlib import Path

import numpy
import pytest

from tests.pace import pace
from tests.tools.score.helm_suite import original, write_run
from tools.score.bootstrap import _draw, _redrawn, intervals, middle, of_mean, of_ratio
from tools.score.pool import Entry
from tools.score.suites import columns, read, wanted


def entry(suite: Path, name: str = "mine") -> Entry:
    specs, _ = read(suite)
    return Entry(name, columns(specs), suite, tuple(specs))


def rival(value: float, name: str = "rival") -> Entry:
    return Entry(name, {"GSM8K - EM": value}, Path("published.json"))


def gsm(suite: Path, right: int, wrong: int, model: str = "neurips/local") -> Path:
    answers = original(*[1.0] * right, *[0.0] * wrong)
    write_run(suite, "gsm", answers, "exact_match_indicator", model=model)
    return suite


def test_the_middle_of_the_binomial(tmp_path: Path) -> None:
    """A share of 0.4 among 400 has a standard error of 0.0245."""
    drawn = _redrawn(entry(gsm(tmp_path, 160, 240)), 4000, 0)["GSM8K - EM"]
    assert numpy.mean(drawn) == pytest.approx(0.4, abs=0.003)
    assert numpy.std(drawn) == pytest.approx((0.4 * 0.6 / 400) ** 0.5, rel=0.05)


def test_the_interval_is_the_middle_95_per_cent() -> None:
    assert middle([float(n) for n in reversed(range(1001))]) == (25.0, 975.0)
    assert middle([0.3]) == (0.3, 0.3)


def test_who_is_far_ahead_is_sure_and_who_is_level_is_not(tmp_path: Path) -> None:
    mine = entry(gsm(tmp_path, 80, 20))
    sure, _ = intervals([mine, rival(0.1)], resamples=200)
    assert sure == {"open": pytest.approx((0.5, 0.5))}
    open_, published = intervals([mine, rival(0.8)], resamples=200)
    assert open_["open"][0] < 1e-100 and open_["open"][1] == pytest.approx(0.5)
    assert published == {}


def test_the_seed_decides(tmp_path: Path) -> None:
    mine = entry(gsm(tmp_path, 11, 9))
    one, same, other = (_redrawn(mine, 50, seed) for seed in (0, 0, 1))
    assert one == same != other


def test_two_who_answered_the_same_questions_are_drawn_the_same(tmp_path: Path) -> None:
    """One answers right whenever the other does, and once more: never is it behind."""
    worse, better = (
        entry(gsm(tmp_path / str(right), right, 20 - right), str(right)) for right in (10, 11)
    )
    draws = [_redrawn(one, 500, 0)["GSM8K - EM"] for one in (worse, better)]
    assert all(low <= high for low, high in zip(*draws, strict=True))
    assert draws[0] != draws[1]


def test_within_each_run_spec_then_the_mean(tmp_path: Path) -> None:
    write_run(tmp_path, "mmlu:subject=anatomy", original(1, 1, 1, 1))
    write_run(tmp_path, "mmlu:subject=virology", original(0, 0))
    assert set(_redrawn(entry(tmp_path), 20, 0)["MMLU - EM"]) == {0.5}


def test_robustness_moves_with_its_instances(tmp_path: Path) -> None:
    answers = {f"id{n}": {"": 1.0, "mild_mix": float(n % 2)} for n in range(10)}
    write_run(tmp_path, "mmlu:subject=anatomy", answers)
    drawn = _redrawn(entry(tmp_path), 100, 0)
    assert set(drawn["MMLU - EM"]) == {1.0}
    assert numpy.mean(drawn["MMLU - EM (Robustness)"]) == pytest.approx(0.5, abs=0.1)


def test_what_has_no_instances_stays(tmp_path: Path) -> None:
    also = {"bias_metric:mode=representation,demographic_category=race": 0.3}
    folder = write_run(tmp_path, "sam_sum", original(0.1, 0.9), "rouge_2", also=also)
    assert set(_redrawn(entry(tmp_path), 10, 0)) == {"sam_sum - ROUGE-2"}
    (folder / "per_instance_stats.json").unlink()
    assert _redrawn(entry(tmp_path), 10, 0) == {}
    assert intervals([entry(tmp_path), rival(0.5)], resamples=10) == [{}, {}]


def test_instances_that_do_not_make_helms_figure_are_not_trusted(tmp_path: Path) -> None:
    folder = gsm(tmp_path, 10, 10)
    path = next(folder.rglob("per_instance_stats.json"))
    path.write_text(path.read_text().replace('"mean": 1.0', '"mean": 0.9'))
    assert _redrawn(entry(tmp_path), 10, 0) == {}


def test_an_instance_without_a_value_is_passed_over(tmp_path: Path) -> None:
    folder = gsm(tmp_path, 2, 1)
    path = next(folder.rglob("per_instance_stats.json"))
    entries = json.loads(path.read_text())
    other = {"name": {"name": "other", "split": "test"}, "mean": 0.0}
    entries[-1]["stats"] = [other]  # the wrong answer has no exact_match_indicator
    path.write_text(json.dumps(entries))
    (spec,), _ = read(tmp_path)
    mean, drawn = _draw(spec, wanted(spec), 20, 0)["GSM8K - EM"]
    assert mean == 1.0 and set(drawn) == {1.0}


def test_published_entries_alone_take_no_time() -> None:
    assert intervals([rival(0.1), rival(0.2)]) == [{}, {}]


def test_a_thousand_resamples_of_the_open_stage_take_seconds(tmp_path: Path) -> None:
    draw = random.Random(0)
    for subject in range(57):
        for family in ("mmlu:subject={}", "big_bench:task=t{},subtask="):
            answers = original(*[draw.choice((0.0, 1.0)) for _ in range(20)])
            write_run(tmp_path, family.format(subject), answers)
    gsm(tmp_path, 30, 31)
    pool = [entry(tmp_path), *[rival(n / 10, f"rival {n}") for n in range(8)]]
    started = time.process_time()
    found = intervals(pool)
    assert found[0]["open"][0] <= found[0]["open"][1]
    assert time.process_time() - started < 10 * pace()


def test_a_run_spec_without_instances_weighs_as_much_as_before(tmp_path: Path) -> None:
    fixed = write_run(tmp_path, "mmlu:subject=anatomy", original(1, 1))
    write_run(tmp_path, "mmlu:subject=virology", original(0, 0))
    (fixed / "per_instance_stats.json").unlink()
    assert set(_redrawn(entry(tmp_path), 20, 0)["MMLU - EM"]) == {0.5}


def test_a_ratio_over_rows() -> None:
    """Of 400 rows of one token each, two in five right: a standard error of 0.0245."""
    low, high = of_ratio([1.0] * 160 + [0.0] * 240, [1] * 400)
    assert low == pytest.approx(0.4 - 1.96 * 0.0245, abs=0.01)
    assert high == pytest.approx(0.4 + 1.96 * 0.0245, abs=0.01)
    assert of_ratio([2.0, 8.0], [1, 4]) == (2.0, 2.0)
    assert of_ratio([0.0, 3.0], [0, 1]) == (0.0, 3.0)  # a draw may have no token
    assert of_ratio([1.0, 0.0], [1, 1]) == of_ratio([1.0, 0.0], [1, 1])


def test_a_mean_over_groups() -> None:
    """Each group is drawn from by itself, and weighs the same."""
    assert of_mean([[1.0] * 9, [0.0]]) == (0.5, 0.5)
    low, high = of_mean([[1.0, 0.0] * 100, [0.0]])
    assert low == pytest.approx(0.25 - 1.96 * 0.0354 / 2, abs=0.01)
    assert high == pytest.approx(0.25 + 1.96 * 0.0354 / 2, abs=0.01)
