"""``benchmarks.conf``: what is asked, what is counted, what is printed."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import conf
from tools.errors import UserError
from tools.files import write_json

MEBIBYTES = 64


def options(tmp_path: Path, *words: str) -> Any:
    """The command line for a conf of three entries."""
    path = tmp_path / "three.conf"
    lines = [
        f'{{description: "mmlu:subject={subject},model=neurips/local", priority: 1}}'
        for subject in ("law", "anatomy", "virology")
    ]
    path.write_text("entries: [\n" + "\n".join(lines) + "\n]\n", encoding="utf-8")
    return conf.parse_arguments(["--conf", str(path), "--data", "d", "--model", "m", *words])


def test_every_second_entry_is_asked(tmp_path: Path) -> None:
    _, told = conf.asked(options(tmp_path, "--every", "2"), tmp_path)
    assert [entry.description for entry in told.entries] == [
        "mmlu:subject=law,model=neurips/local",
        "mmlu:subject=virology,model=neurips/local",
    ]
    assert told.eval.threads == 30


def test_run_specs_calls_and_failures_are_counted(tmp_path: Path) -> None:
    good, bad = tmp_path / "a:model=x", tmp_path / "b:model=x"
    bad.mkdir()
    good.mkdir()
    write_json(good / "stats.json", [])
    states = [{"result": {"success": True}}, {"result": {"success": False}}, {"result": None}]
    write_json(good / "scenario_state.json", {"request_states": states})
    result = conf.Result()
    conf._count(tmp_path, result)
    assert (result.run_specs, result.failed) == (2, 1)
    assert (result.calls, result.unanswered) == (1, 2)


def test_the_peak_of_a_process_is_seen() -> None:
    with conf.Peak(os.getpid()) as before:
        time.sleep(3 * conf.SAMPLED_EVERY)
    with conf.Peak(os.getpid()) as peak:
        block = b"\1" * (MEBIBYTES * conf.MIB)
        time.sleep(3 * conf.SAMPLED_EVERY)
    assert len(block) == MEBIBYTES * conf.MIB
    assert peak.mib >= before.mib + MEBIBYTES / 2


def test_the_table_has_ratios_to_ours() -> None:
    results = {"ours": conf.Result(minutes=2.0, run_specs=3), "2023": conf.Result(minutes=15.0)}
    lines = conf.table(results).splitlines()
    assert lines[2].split() == ["ours", "3", "0", "0", "0", "2.0", "1.00", "0"]
    assert "7.50" in lines[3]


def test_what_failed_has_no_ratio() -> None:
    results = {"ours": conf.Result(minutes=2.0), "2023": conf.Result(minutes=1.0, note="it died")}
    assert "0.50" not in conf.table(results)


def test_only_servers_of_the_contract_can_be_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--servers: no llama\.cpp"):
        conf.report(options(tmp_path, "--servers", "llama.cpp"))
