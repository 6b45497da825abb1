"""The real chain on a tiny model: real Axolotl, real worker, real HELM, and real kill -9."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import ENV, ROOT, call, start
from tools.rebuild.verify import verify


def stop_when(
    ready: Callable[[], bool], how: signal.Signals, recipe: Path, runs: Path
) -> tuple[int, str]:
    """Start the day, send a signal as soon as ``ready``; its exit code and what it printed."""
    process = start("day", recipe, runs)
    until = time.monotonic() + 240
    while not ready():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < until, "the moment to kill never came"
        time.sleep(0.02)
    process.send_signal(how)
    printed, _ = process.communicate(timeout=60)
    return process.returncode, printed


def trainers(runs: Path) -> list[str]:
    """Command lines of Axolotl processes that are alive and write there."""
    found = subprocess.run(["pgrep", "-fa", "tools.axolotl.job"], capture_output=True, text=True)
    return [line for line in found.stdout.splitlines() if str(runs) in line]


@pytest.fixture(scope="module")
def recipe(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe with a user's own rows, a CSV of 60, among its sources."""
    folder = tmp_path_factory.mktemp("own rows")
    rows = [f"Which number comes after {i}?,{i + 1}" for i in range(60)]
    (folder / "mine.csv").write_text("question,answer\n" + "\n".join(rows), encoding="utf-8")
    text = tiny_recipe.read_text(encoding="utf-8")
    own = f"mine: {{kind: local, path: {folder}/mine.csv, licence: CC0-1.0, origin: human}}"
    found = folder / "tiny.yaml"
    found.write_text(text.replace("  sources:\n", f"  sources:\n    {own}\n"), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run that was killed in train, merge and quantize, and then ended; and what was seen."""
    runs = tmp_path_factory.mktemp("runs")
    folder = runs / "tiny"
    seen: dict[str, Any] = {}

    def inside(name: str) -> Callable[[], bool]:
        return lambda: any((folder / f".{name}.partial").glob("*"))

    def checkpoint(step: int) -> Callable[[], bool]:
        return lambda: any(folder.glob(f".adapter.*.partial/checkpoint-{step}/.complete"))

    seen["interrupt"] = stop_when(checkpoint(10), signal.SIGINT, recipe, runs)
    seen["after_interrupt"] = (folder / "adapter").exists()
    seen["kill_train"] = stop_when(checkpoint(30), signal.SIGKILL, recipe, runs)
    seen["after_kill_train"] = (folder / "adapter").exists()
    seen["kill_merge"] = stop_when(inside("merged"), signal.SIGKILL, recipe, runs)
    seen["after_kill_merge"] = (folder / "merged").exists()
    time.sleep(1)
    seen["orphans"] = trainers(runs)
    seen["kill_quantize"] = stop_when(inside("quantized"), signal.SIGKILL, recipe, runs)
    seen["after_kill_quantize"] = (folder / "quantized").exists()
    done = call("day", recipe, runs)
    assert done.returncode == 0, done.stdout[-4000:]
    seen["last"] = done.stdout
    return runs, seen


def test_ctrl_c_leaves_a_run_that_goes_on(finished: tuple[Path, dict[str, Any]]) -> None:
    code, printed = finished[1]["interrupt"]
    assert (
        code == 130
        and "the checkpoint of step 10 is kept" in printed
        and "Traceback" not in printed
    )
    assert not finished[1]["after_interrupt"], "a half-trained adapter was taken as done"
    assert "train: going on from step" in finished[1]["kill_train"][1]


def test_kill_leaves_no_output_and_no_orphan(finished: tuple[Path, dict[str, Any]]) -> None:
    seen = finished[1]
    for stage in ("train", "merge", "quantize"):
        assert seen[f"kill_{stage}"][0] == -signal.SIGKILL
        assert not seen[f"after_kill_{stage}"], f"half a {stage} was taken as done"
    assert "train: going on from step" in seen["kill_merge"][1]
    assert seen["orphans"] == []


def test_stages_done_before_a_kill_are_not_run_again(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    for stage in ("data", "train", "merge"):
        assert f"{stage}: up to date" in finished[1]["last"]


def test_the_day_ends_with_a_table_of_both_models(finished: tuple[Path, dict[str, Any]]) -> None:
    printed = finished[1]["last"]
    for skill in ("boxes", "places", "counting", "syllogism"):
        assert f"oneday:skill={skill}" in printed
    assert "dyck_language" in printed and "base" in printed and "tuned" in printed


def test_the_day_ends_with_the_score_of_rows_of_one_s_own(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    lines = [line for line in finished[1]["last"].splitlines() if "oneday:skill=mine" in line]
    assert lines and re.search(r"\d\.\d+ +\d\.\d+", lines[0]), lines


def test_the_day_ends_with_a_whole_report(finished: tuple[Path, dict[str, Any]]) -> None:
    run = finished[0] / "tiny"
    parts = json.loads((run / "report.json").read_text())["parts"]
    missing = {name: part["missing"] for name, part in parts.items() if "missing" in part}
    assert not missing, missing
    assert not parts["ranking"]["scored"], "none of the board's scenarios was asked"
    assert all(who["resident_gib"] > 0.1 for who in parts["worker"]["models"].values())
    assert "<title>" in (run / "report.html").read_text()
    assert parts["contamination"]["rows"] > 0 and "contamination: " in finished[1]["last"]


def test_every_stage_is_in_the_manifest_with_hashes(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    manifest = json.loads((finished[0] / "tiny" / "manifest.json").read_text())
    stages = [record["stage"] for record in manifest["stages"]]
    assert stages == ["data", "train", "merge", "quantize", "eval_base", "eval_tuned"]
    assert all(record["outputs"] for record in manifest["stages"])


def test_trained_longer_than_killed(finished: tuple[Path, dict[str, Any]]) -> None:
    record = json.loads((finished[0] / "tiny" / "adapter" / "oneday.json").read_text())
    metrics = record["metrics"]
    assert metrics["last_loss"] < metrics["first_loss"]
    steps = [entry["step"] for entry in metrics["log"] if "loss" in entry]
    assert steps == sorted(set(steps)), "steps were trained twice, or the log was not resumed"


def test_second_day_does_nothing_in_seconds(
    recipe: Path, finished: tuple[Path, dict[str, Any]]
) -> None:
    started = time.monotonic()
    done = call("day", recipe, finished[0])
    assert done.returncode == 0 and "nothing was run" in done.stdout
    assert time.monotonic() - started < 10


def test_editing_serve_trains_nothing(recipe: Path, finished: tuple[Path, dict[str, Any]]) -> None:
    done = call("quantize", recipe, finished[0], "serve.context=512")
    assert done.stdout.count("up to date") == 4 and "made" not in done.stdout


def test_unloadable_quantization_is_never_done(
    recipe: Path, finished: tuple[Path, dict[str, Any]]
) -> None:
    """Axolotl's int8+int4 of tied embeddings writes files that transformers cannot load back."""
    before = (finished[0] / "tiny" / "quantized" / "oneday.json").read_text()
    refused = call("quantize", recipe, finished[0], "quantize.format=int8_int4")
    assert refused.returncode == 2 and "does not load the two back" in refused.stdout
    done = call("quantize", recipe, finished[0], "quantize.format=int8_int4", force=True)
    assert done.returncode == 1 and "do not load back" in done.stdout, done.stdout[-3000:]
    assert "Traceback" not in done.stdout
    assert (finished[0] / "tiny" / "quantized" / "oneday.json").read_text() == before
    # Axolotl would open its debug.log in the adapter's folder, which then counts as changed.
    assert verify(finished[0] / "tiny") == []


def test_make_serve_answers_the_organizers_health_check(
    recipe: Path, finished: tuple[Path, dict[str, Any]]
) -> None:
    port = "18431"
    make = ["make", "-s", "serve", f"RECIPE={recipe}", f"RUNS={finished[0]}", f"PORT={port}"]
    server = subprocess.Popen(make, cwd=ROOT, env=ENV, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_ready(server, url)
        answer = requests.post(
            f"{url}/process", json={"prompt": "The capital of France is "}, timeout=60
        )
        server.terminate()  # make alone, as docker stop and kill do
        server.wait(timeout=60)
        with pytest.raises(requests.ConnectionError):  # and the worker ended before it
            requests.get(f"{url}/health", timeout=2)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
    assert answer.status_code == 200
    body = answer.json()
    assert {"text", "tokens", "logprob", "request_time"} <= body.keys()
    assert all({"text", "logprob", "top_logprob"} <= token.keys() for token in body["tokens"])
    assert "".join(token["text"] for token in body["tokens"]) == body["text"]


def _wait_ready(server: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert server.poll() is None, "the server ended"
        try:
            if requests.get(f"{url}/health", timeout=2).status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.5)
    raise AssertionError("the server was not ready in two minutes")


def test_qlora_trains_and_merges_into_the_weights_it_saw(tiny_recipe: Path, tmp_path: Path) -> None:
    done = call("merge", tiny_recipe, tmp_path, "train.adapter=qlora train.load_in_4bit=true")
    assert done.returncode == 0, done.stdout[-3000:]
    record = json.loads((tmp_path / "tiny" / "merged" / "oneday.json").read_text())
    assert record["metrics"]["max_logit_diff"] < 0.05 * record["metrics"]["max_logit_change"]


def test_the_curves_are_in_tensorboard_and_nowhere_else(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = EventAccumulator(str(finished[0] / "tiny/logs/tensorboard")).Reload()
    assert {"train/loss", "eval/loss", "train/learning_rate"} <= set(logs.Tags()["scalars"])
    (told,) = [event.tensor_proto for event in logs.Tensors("args/text_summary")][-1:]
    assert '"report_to": [\n    "tensorboard"\n  ]' in told.string_val[0].decode()
