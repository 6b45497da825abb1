"""The day's bar and the memory's."""

from pathlib import Path

import pytest

from tests.tiny import make_run
from tests.tools.report.conftest import ARCH, TRAINED, add_interval, build
from tools.files import read_json, write_json
from tools.report.gathered.resources import day, memory
from tools.report.gathered.source import Source
from tools.run.folder import Run


def test_the_segments_make_the_day(whole: Run) -> None:
    found = day(Source(whole))
    assert found["segments"] == {
        "train": 300,
        "merge": 20,
        "quantize": 10,
        "reserve": 1800 - 30,
        "left": 24 * 3600 - 300 - 1800,
    }
    assert sum(found["segments"].values()) == found["total"] == 24 * 3600
    assert found["over"] == 0 and found["attempts"] == 3 and found["cut_off"] == 0


def test_another_recipe_s_work_and_a_crash_are_told(whole: Run) -> None:
    add_interval(whole, "train", 50, work="other")
    add_interval(whole, "train", 7, ended=False)
    found = day(Source(whole))
    assert found["segments"]["train"] == 307 and found["not_counted"] == 50
    assert found["attempts"] == 4 and found["cut_off"] == 1


def test_a_day_that_was_passed(whole: Run) -> None:
    add_interval(whole, "merge", 24 * 3600)
    found = day(Source(whole))
    assert found["over"] == 330 and found["segments"]["left"] == found["segments"]["reserve"] == 0


def test_the_bar_is_of_what_is_here_not_of_what_the_recipe_asks_now(whole: Run) -> None:
    before = whole.fingerprint("train")
    edited = make_run(whole.path.parent, model__arch=ARCH, train={"adapter": "lora", "lora_r": 99})
    assert edited.fingerprint("train") != before
    assert day(Source(edited))["segments"]["train"] == 300


def test_memory_on_a_cpu_is_the_process_s(whole: Run) -> None:
    found = memory(Source(whole))
    assert found["device"] == "cpu" and found["measured_card"] is None
    assert found["measured_process"] == TRAINED["peak_process_gib"]
    assert sum(found["predicted"].values()) == pytest.approx(found["predicted_total"])


def test_memory_of_a_card(tmp_path: Path) -> None:
    run = build(tmp_path, hardware__device="cuda")
    path = run.output("train") / "oneday.json"
    record = read_json(path)
    record["metrics"]["peak_gpu_gib"] = 17.5
    write_json(path, record)
    assert memory(Source(run))["measured_card"] == 17.5


def test_memory_is_predicted_before_training(tmp_path: Path) -> None:
    found = memory(Source(make_run(tmp_path, model__arch=ARCH)))
    assert not found["trained"] and found["predicted_total"] > 0.4
